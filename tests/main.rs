//! Integration tests.

mod it {
    mod install;
    mod static_documents;
    mod static_manifest;
    mod static_package;
    mod static_scripts;
}
mod support {
    pub(crate) mod solaris;
    pub(crate) mod tree;
}
