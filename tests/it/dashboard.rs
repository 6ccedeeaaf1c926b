//! The dashboard in a browser, and without one.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::backend::{Backend, greeters};
use crate::support::browser::Browser;
use crate::support::http::{Answer, admin_of, get};
use crate::support::tree::top;
use crate::support::{Pen, Setup, skipped, wait_until};

fn page(pen: &Pen, path: &str) -> Answer {
    get(admin_of(pen), path)
}

#[test]
fn the_page_says_all_without_javascript() {
    let backends = greeters(2);
    let pen = Setup::new().command("admin %").servers(&backends).start();
    pen.control("server 1 max 7");
    pen.control("server 1 blacklist 60");
    let (_held, _) = pen.hold(1);
    let answer = page(&pen, "/");
    assert_eq!((answer.status, &*answer.headers["content-type"]), (200, "text/html; charset=utf-8"));
    for text in [
        format!("<title>pen at {}</title>", pen.address),
        "<p class=\"state up\" id=\"health\">serving</p>".into(),
        backends[0].address().to_string(),
        "<span class=\"state blacklisted\">blacklisted, ".into(),
        "<span>0 of 7</span>".into(),
        "1 of 500".into(),
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

#[test]
fn it_follows_what_happens() {
    let mut backends = greeters(2);
    let pen = Setup::new().options("-r -b 1000").command("admin %").servers(&backends).start();
    let Some(browser) = Browser::start() else { return };
    browser.open(&format!("http://{}/", admin_of(&pen)));
    let state = |server: usize| {
        let script = format!("return document.querySelector('[data-id=\"{server}\"] .state').className");
        browser.run(&script).as_str().unwrap().to_owned()
    };
    assert_eq!([state(0), state(1)], ["state up", "state up"]);
    let address = backends.remove(1).stop();
    pen.choice(2);
    pen.choice(3);
    let begin = Instant::now();
    wait_until("the row of the dead server to say so", || state(1) == "state blacklisted");
    let passed = begin.elapsed();
    assert!(passed < Duration::from_secs(3), "{passed:?}");
    let _again = Backend::greeter_on(&address, "again");
    pen.control("server 1 blacklist 0");
    wait_until("the row of the server to say up again", || state(1) == "state up");
    let changes = "return document.querySelector('#changes').textContent";
    wait_until("both changes to be told", || {
        let text = browser.run(changes);
        let text = text.as_str().unwrap();
        text.contains("up, now blacklisted") && text.contains("blacklisted, now up")
    });
    pen.control("server 1 state drain");
    wait_until("the row of the drained server to say so", || state(1) == "state drain");
    pen.control("server 1 state ready");
    let (_held, _) = pen.hold(2);
    let connections = "return Array.from(document.querySelectorAll('#servers tbody td:nth-child(4)'), c => +c.innerText)\
        .reduce((a, b) => a + b)";
    wait_until("the connections to be counted", || browser.run(connections) == json!(1));
    let opened = |name: &str| {
        browser.run(&format!("document.querySelector('details[data-document={name}]').open = true"));
        wait_until("the rows of the table", || {
            let script =
                format!("return document.querySelectorAll('[data-document={name}] tbody tr').length");
            browser.run(&script).as_u64() >= Some(1)
        });
    };
    opened("connections");
    opened("clients");
    // The keyboard reaches all that can be used, with a focus to be seen.
    let focusable = "return Array.from(document.querySelectorAll('a, button, input, summary, [tabindex]'))\
        .every(e => e.tabIndex >= 0)";
    assert_eq!(browser.run(focusable), json!(true));
    browser.run("const f = document.getElementById('filter'); f.value = 'again-no'; f.dispatchEvent(new Event('input'))");
    assert_eq!(
        browser.run("return document.querySelectorAll('#servers tbody tr:not([hidden])').length"),
        json!(0)
    );
    assert_eq!(browser.console(), Vec::<String>::new());
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
        browser.run("document.querySelector('#servers tbody td').textContent = 'spoiled'");
        wait_until("the page to follow", || {
            browser.run("return document.querySelector('#servers tbody td').textContent") != "spoiled"
        });
        browser.keep_picture(&format!("dashboard-{width}-{scheme}"));
    }
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn axe_finds_no_violation() {
    let backends = greeters(3);
    let pen = Setup::new().command("admin %").servers(&backends).start();
    pen.control("server 1 max 7");
    pen.control("server 2 blacklist 60");
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
