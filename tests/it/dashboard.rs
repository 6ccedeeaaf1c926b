//! The dashboard in a browser, and without one.

use std::time::Duration;

use serde_json::json;

use crate::support::backend::{Backend, greeters};
use crate::support::browser::Browser;
use crate::support::http::{Answer, admin_of, get};
use crate::support::tree::top;
use crate::support::{Pen, Setup, Stopwatch, skipped, wait_until};

fn page(pen: &Pen, path: &str) -> Answer {
    get(admin_of(pen), path)
}

#[test]
fn the_page_says_all_without_javascript() {
    let backends = greeters(2);
    let setup = Setup::new().command("admin %").command("check port type tcp every 100");
    let pen = setup.command("check_default port").servers(&backends).start();
    wait_until("the servers to be checked", || page(&pen, "/").body.matches(": passed").count() == 2);
    pen.control("server 1 max 7");
    pen.control("server 1 blacklist 60");
    let (_held, _) = pen.hold(1);
    let answer = page(&pen, "/");
    assert_eq!((answer.status, &*answer.headers["content-type"]), (200, "text/html; charset=utf-8"));
    for text in [
        format!("<title>pen at {}</title>", pen.address),
        "<p class=\"state up\" id=\"health\" role=\"status\">serving</p>".into(),
        "<span class=\"protocol\">TCP</span>".into(),
        backends[0].address().to_string(),
        "<span class=\"state blacklisted\">blacklisted</span><span class=\"note\">by command, ".into(),
        "<span>port: passed</span><span class=\"note\">".into(),
        "<span>0 of 7</span>".into(),
        "<dt>Servers up</dt><dd><span>1 of 2</span>".into(),
        "<dt>Connections</dt><dd><span>1 of 500</span>".into(),
        "<dt>Serving for</dt>".into(),
    ] {
        assert!(answer.body.contains(&text), "{text}: {}", answer.body);
    }
    for (path, kind) in [
        ("/dashboard.css", "text/css"),
        ("/dashboard.js", "text/javascript"),
        ("/dashboard.svg", "image/svg+xml"),
    ] {
        let answer = page(&pen, path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.headers["content-type"].starts_with(kind), "{path}: {:?}", answer.headers);
    }
    assert!(!answer.body.contains("style="), "the policy forbids it");
}

#[test]
fn a_name_from_outside_is_text() {
    let pen = Setup::new().command("admin %").start();
    // Names of hosts may not have such characters, paths may.
    pen.control("server 0 address \"/tmp/<script>alert(1)</script>\"");
    let body = page(&pen, "/").body;
    assert!(!body.contains("<script>alert"), "{body}");
    assert!(body.contains("/tmp/&lt;script&gt;"), "{body}");
}

/// The text of the elements of the page that `selector` finds.
fn text(browser: &Browser, selector: &str) -> String {
    let script =
        format!("return Array.from(document.querySelectorAll({selector:?}), e => e.textContent).join(';')");
    browser.run(&script).as_str().unwrap().to_owned()
}

/// The text of a cell of a server.
fn cell(browser: &Browser, server: usize, column: &str) -> String {
    text(browser, &format!("[data-id='{server}'] [data-name='{column}'] > :first-child"))
}

#[test]
fn it_follows_what_happens() {
    let mut backends = [Backend::echo(), Backend::echo(), Backend::echo()].into_iter();
    let mut next = || backends.next().unwrap();
    let (dies, limited, drained) = (next(), next(), next());
    let mut setup = Setup::new().options("-r").command("admin %");
    for line in ["check port type tcp every 0.2 fall 2 rise 1", "check_default port"] {
        setup = setup.command(line);
    }
    let pen = setup.servers([&dies, &limited, &drained]).start();
    for line in ["server 0 name www1", "server 1 name www2 max 1", "server 2 name www3"] {
        pen.control(line);
    }
    let Some(browser) = Browser::start() else { return };
    browser.shows(1280, 1100, "light");
    browser.open(&format!("http://{}/", admin_of(&pen)));
    let says = |server: usize, column: &str, wanted: &str| {
        wait_until(&format!("server {server}: {column} {wanted}"), || {
            cell(&browser, server, column) == wanted
        });
    };
    for server in 0..3 {
        says(server, "State", "up");
        says(server, "Check", "port: passed");
    }
    assert_eq!(text(&browser, "#health"), "serving");
    let stopwatch = Stopwatch::start();
    let left = dies.stop();
    says(0, "State", "down");
    stopwatch.is_below(Duration::from_secs(3));
    says(0, "Check", "port: failed");
    let why = text(&browser, "[data-id='0'] .note");
    assert!(why.matches("Connection refused").count() == 2, "why it is down, and the check: {why}");
    let again = Backend::echo_on(&left);
    let address = again.address();
    says(0, "State", "up");
    pen.control("server 2 state drain");
    says(2, "State", "drain");
    wait_until("the changes to be told", || {
        let told = text(&browser, "#changes li");
        [
            format!("downwww1 ({address})was up: Connection refused"),
            format!("upwww1 ({address})was down"),
            format!("drainwww3 ({})was up", drained.address()),
        ]
        .iter()
        .all(|change| told.contains(change))
    });
    // Traffic, and the bar of a limit.
    let mut clients: Vec<_> = (0..2).map(|_| pen.client()).collect();
    for client in &mut clients {
        client.send([b'x'; 30_000]);
        client.bytes(30_000);
    }
    says(1, "Connections", "1 of 1");
    let bar = "return document.querySelector('[data-id=\"1\"] .bar.full:not([hidden]) .used').getAttribute('width')";
    assert_eq!(browser.run(bar), json!("100"));
    wait_until("the traffic to be drawn", || text(&browser, "#traffic .note").contains("KB/s"));
    let drawn = "return document.querySelector('#traffic polyline').getAttribute('points').split(' ').length";
    assert!(browser.run(drawn).as_u64() >= Some(1));
    let opened = |name: &str| {
        browser.run(&format!("document.querySelector('details[data-document={name}]').open = true"));
        wait_until("the rows of the table", || {
            text(&browser, &format!("[data-document={name}] tbody")).contains("127.0.0.1")
        });
    };
    opened("connections");
    opened("clients");
    for (width, height) in [(1280, 1100), (360, 2400)] {
        for scheme in ["dark", "light"] {
            browser.shows(width, height, scheme);
            browser.keep_picture(&format!("dashboard-{width}-{scheme}"));
        }
    }
    // The keyboard reaches all that can be used, with a focus to be seen.
    let focusable = "return Array.from(document.querySelectorAll('a, button, input, summary, [tabindex]'))\
        .every(e => e.tabIndex >= 0)";
    assert_eq!(browser.run(focusable), json!(true));
    let listed = |script: &str| {
        browser.run(script);
        text(&browser, "#servers tbody tr:not([hidden]) th > :first-child")
    };
    let find = |word: &str| {
        format!(
            "const f = document.getElementById('filter'); f.value = '{word}'; f.dispatchEvent(new Event('input'))"
        )
    };
    assert_eq!(listed(&find("WWW2")), "www2 (1)");
    assert_eq!(listed(&find("")), "www1 (0);www2 (1);www3 (2)");
    assert_eq!(listed("document.getElementById('troubled').click()"), "www3 (2)");
    assert_eq!(browser.console(), Vec::<String>::new());
    drop(again);
}

#[test]
fn it_tells_that_pen_is_gone_and_follows_its_successor() {
    let backends = greeters(1);
    let mut pen = Setup::new().command("admin %").servers(&backends).start();
    let Some(browser) = Browser::start() else { return };
    let at = admin_of(&pen);
    browser.open(&format!("http://{at}/"));
    pen.terminate();
    wait_until("the page to tell", || {
        browser.run("return document.getElementById('lost').hidden") == json!(false)
    });
    assert!(text(&browser, "#lost").starts_with("No answer since "));
    let pen = Setup::new().command(format!("admin {}", at.port())).servers(&backends).start();
    wait_until("the page of the next one", || {
        text(&browser, "h1") == format!("pen at {}", pen.address)
            && browser.run("return document.getElementById('lost').hidden") == json!(true)
    });
}

#[test]
fn it_suits_every_screen_and_has_room_for_a_thousand_servers() {
    let pen = Setup::new().command("admin %").start();
    pen.has_servers(1000);
    pen.control("server 3 max 10");
    pen.control("server 4 blacklist 60");
    let Some(browser) = Browser::start() else { return };
    for (width, height, scheme) in
        [(360, 740, "dark"), (360, 740, "light"), (1280, 800, "dark"), (1280, 800, "light")]
    {
        browser.shows(width, height, scheme);
        browser.open(&format!("http://{}/", admin_of(&pen)));
        assert_eq!(browser.run("return document.querySelectorAll('#servers tbody tr').length"), json!(1000));
        let too_wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
        assert_eq!(browser.run(too_wide), json!(false), "{width} {scheme}");
        // The page goes on following: a value that this script spoils is put right.
        browser.run("document.querySelector('#servers .state').textContent = 'spoiled'");
        wait_until("the page to follow", || {
            browser.run("return document.querySelector('#servers .state').textContent") != "spoiled"
        });
        browser.keep_picture(&format!("dashboard-many-{width}-{scheme}"));
    }
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn axe_finds_no_violation() {
    let backends = greeters(4);
    let setup = Setup::new().command("admin %").command("check port type tcp port 1");
    let pen = setup.servers(&backends).start();
    for line in ["server 1 max 7", "server 2 blacklist 60", "server 3 state drain", "server 0 check port"] {
        pen.control(line);
    }
    wait_until("a server that is down", || page(&pen, "/api/v1/servers").body.contains("\"down\""));
    let (_held, _) = pen.hold(3);
    let axe = top().join("target/tools/node_modules/axe-core/axe.min.js");
    let Ok(axe) = std::fs::read_to_string(axe) else {
        return skipped("accessibility of the dashboard", "axe-core is not installed in target/tools");
    };
    let Some(browser) = Browser::start() else { return };
    for (width, scheme) in [(360, "dark"), (360, "light"), (1280, "dark"), (1280, "light")] {
        browser.shows(width, 800, scheme);
        browser.open(&format!("http://{}/", admin_of(&pen)));
        browser.run("document.querySelectorAll('details').forEach(d => d.open = true)");
        wait_until("the tables to be there", || {
            browser.run("return document.querySelectorAll('details tbody tr').length").as_u64() >= Some(2)
        });
        browser.run(&axe);
        let found = browser.run_async(
            "const done = arguments[0]; axe.run().then(r => done(r.violations.map(v => [v.id, v.nodes.map(n => n.html)])))",
        );
        assert_eq!(found, json!([]), "{width} {scheme}");
    }
}
