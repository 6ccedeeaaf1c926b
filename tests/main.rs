//! Integration tests.

mod it {
    mod static_documents;
    mod static_manifest;
    mod static_package;
    mod static_scripts;
}
mod support {
    pub mod tree;
}
