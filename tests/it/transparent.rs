//! Transparent mode: servers see the client's own address. Needs a network that the test may set up, hence root.

use std::process::{Command, Stdio};

use crate::support::backend::Backend;
use crate::support::namespace::{inside, run};
use crate::support::udp::{Server, choices};
use crate::support::{Setup, wait_until};

/// Ends the process that keeps the client's namespace.
struct Holder(std::process::Child);

impl Drop for Holder {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn where_the_system_does_not_allow_it_servers_see_pen() {
    let backend = Backend::greeter("A");
    let setup = || Setup::new().environment("PEN_PORTABLE", "1").command("transparent");
    let pen = setup().server(backend.address()).start();
    assert_eq!(pen.choices([2, 3]), "A A");
    pen.says("transparent: connections come from pen's own address");
    let server = Server::named("B");
    let pen = setup().options("-U").server(server.address).start();
    assert_eq!(choices(pen.address, [2, 3]), "B B");
    pen.says("transparent: connections come from pen's own address");
}

#[test]
fn servers_see_the_address_of_a_client_from_elsewhere() {
    if !inside("it::transparent::servers_see_the_address_of_a_client_from_elsewhere") {
        return;
    }
    // The client lives in a second namespace, as 10.9.0.2; here are pen, 10.9.0.1, and the server, 10.8.0.1.
    let holder = Command::new("unshare").args(["-n", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let holder = Holder(holder);
    let pid = holder.0.id();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    wait_until("the client's namespace", || {
        std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|n| n != own)
    });
    run(&format!("ip link add v0 type veth peer name v1 netns {pid}"));
    run("ip address add 10.9.0.1/24 dev v0");
    run("ip address add 10.8.0.1/32 dev lo");
    run("ip link set v0 up");
    run(&format!("nsenter -t {pid} -n ip address add 10.9.0.2/24 dev v1"));
    run(&format!("nsenter -t {pid} -n ip link set v1 up"));
    // What the server sends to clients comes back to pen, as a router in front of the servers would have it.
    run("ip rule add from 10.8.0.1 lookup 100");
    run("ip route add local 10.9.0.0/24 dev lo table 100");
    let address: std::net::SocketAddr = "10.8.0.1:0".parse().unwrap();
    let server = Backend::on(&address.into(), |mut client| {
        let peer = client.peer().ip();
        client.send(format!("{peer}\n"));
        client.end();
    });
    let ask = |port: u16| {
        let script = format!("exec 3<>/dev/tcp/10.9.0.1/{port}; read -r line <&3; echo \"$line\"");
        let output = Command::new("nsenter")
            .args(["-t", &pid.to_string(), "-n", "timeout", "10", "bash", "-c", &script])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let pen = Setup::new().listen("10.9.0.1:%").command("transparent").server(server.address()).start();
    assert_eq!(ask(pen.address.port()), "10.9.0.2\n", "{}", pen.stderr());
    pen.control("no transparent");
    assert_eq!(ask(pen.address.port()), "10.8.0.1\n");
}
