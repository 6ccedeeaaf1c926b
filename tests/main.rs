//! Integration tests: the real programs, driven over sockets, signals and files.
//!
//! Every test starts its own processes on ports that no other test has, and waits for events, never for time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on is to fail, and says where"
)]

mod support;

mod it {
    mod acl;
    mod admin;
    mod admin_alerts;
    mod admin_metrics;
    mod chaos;
    mod chaos_datagrams;
    mod checks;
    mod checks_changed;
    mod checks_exec;
    mod checks_names;
    mod checks_programs;
    mod cli;
    mod client_limits;
    mod connection_log;
    mod connection_log_load;
    mod control;
    mod control_clients;
    mod daemon;
    mod dashboard;
    mod datapath;
    mod datapath_ends;
    mod datapath_settings;
    mod differential;
    mod docs;
    mod docs_complete;
    mod ends_by_pen;
    mod exhaustion;
    mod failover;
    mod files;
    mod first_segments;
    mod foreign_links;
    mod giving_up;
    mod http;
    mod http_forwarded;
    mod http_heads;
    mod inherited;
    mod install;
    mod install_package;
    mod install_properties;
    mod ipv6;
    mod json;
    mod killed;
    mod layers;
    mod limits;
    mod listen;
    mod listen_moves;
    mod live;
    mod mergelogs;
    mod messages;
    mod names;
    mod nginx;
    mod one_shot;
    mod own_faults;
    mod penctl;
    mod penctl_tasks;
    mod penlog;
    mod penlogd;
    mod proxy_in;
    mod proxy_out;
    mod proxy_peers;
    mod queue;
    mod queue_ends;
    mod reload;
    mod reload_errors;
    mod reqlog;
    mod selection;
    mod server_names;
    mod server_state;
    mod signals;
    mod slow_files;
    mod slow_start;
    mod sni_server;
    mod source;
    mod static_build;
    mod static_documents;
    mod static_ips;
    mod static_manifest;
    mod static_package;
    mod static_scripts;
    mod status;
    mod stop;
    mod syslog;
    mod tarpit;
    mod tls;
    mod tls_alpn;
    mod tls_clients;
    mod tls_ends;
    mod tls_files;
    mod tls_hello;
    mod tls_kinds;
    mod tls_load;
    mod tls_names;
    mod tls_ocsp;
    mod tls_reload;
    mod tls_resume;
    mod tls_segments;
    mod tls_servers;
    mod tls_servers_ends;
    mod tls_servers_peers;
    mod transparent;
    mod udp;
    mod udp_batch;
    mod udp_control;
    mod udp_groups;
    mod udp_losses;
    mod unix;
    mod waiting;
    mod why;
    mod workers;
    mod write;
}
