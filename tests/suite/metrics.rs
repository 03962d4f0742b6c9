//! `mount --metrics`: what status says, as figures for a monitor.

use crate::harness::{Cmd, Mounted, Sandbox, wait_for, write};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A port that nobody has, and none of those that the kernel gives to others meanwhile.
pub fn port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(64);
    loop {
        let next = own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(next % 20_000).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn asked(port: u16, question: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    stream.write_all(question.as_bytes()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

pub fn figures(port: u16) -> String {
    let answer = asked(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    body.to_owned()
}

/// The figure of a line.
pub fn figure(port: u16, name: &str) -> f64 {
    let body = figures(port);
    let line = body
        .lines()
        .find(|line| line.split(' ').next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("{name} is not in\n{body}"));
    line.rsplit(' ')
        .next()
        .and_then(|figure| figure.parse().ok())
        .expect("a figure")
}

fn mount(sandbox: &Sandbox, port: u16) -> Mounted {
    let mount = Cmd::rewindfs().arg("mount").arg(sandbox.work());
    let mount = mount.args(["-o", "interval=200ms,settle=50ms", "--metrics"]);
    mount.arg(port.to_string()).run().ok();
    Mounted::found(sandbox.work(), sandbox.work())
}

#[test]
fn a_monitor_has_the_figures_and_no_names() {
    let sandbox = Sandbox::new("metrics");
    write(sandbox.join("password"), "correct horse\n");
    let port = port();
    let mounted = mount(&sandbox, port);
    mounted.settled();
    write(mounted.join("a-secret-name"), "content");
    mounted.snapshot("a-secret-snapshot");
    let add = Cmd::rewindfs().args(["replica", "add"]).arg(&mounted.dir);
    let add = add
        .arg(sandbox.join("a-secret-place"))
        .arg("--password-file");
    add.arg(sandbox.join("password"))
        .args(["--drill-every", "1s"])
        .run()
        .ok();
    wait_for("a drill", || {
        figures(port).contains("rewindfs_replica_drill_right{replica=\"1\"} 1")
    });
    wait_for("the replica", || {
        figure(port, "rewindfs_replica_behind_states{replica=\"1\"}") == 0.0
    });
    assert_eq!(figure(port, "rewindfs_problems"), 0.0);
    assert_eq!(figure(port, "rewindfs_recording"), 1.0);
    assert_eq!(figure(port, "rewindfs_snapshots"), 2.0);
    assert_eq!(figure(port, "rewindfs_not_recorded_seconds"), 0.0);
    let to = figure(port, "rewindfs_recoverable_to_seconds");
    assert!(to >= figure(port, "rewindfs_recoverable_from_seconds"));
    assert!(figure(port, "rewindfs_replica_drill_rto_seconds{replica=\"1\"}") > 0.0);
    let body = figures(port);
    assert!(!body.contains("secret") && !body.contains("work"), "{body}");
    // As its readers want it: each kind announced once, before its figures.
    let mut announced = Vec::new();
    for line in body.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let name = kind.split(' ').next().expect("a name").to_owned();
            assert!(!announced.contains(&name), "{name} twice");
            announced.push(name);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().expect("a name");
            assert_eq!(announced.last().map(String::as_str), Some(name), "{line}");
        }
    }
    assert!(asked(port, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(asked(port, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400"));
    mounted.umount().ok();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn who_asks_slowly_keeps_neither_the_mount_nor_its_end() {
    let sandbox = Sandbox::new("metrics-slow");
    let port = port();
    let mounted = mount(&sandbox, port);
    mounted.settled();
    let mut idle: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).expect("somebody listens"))
        .collect();
    for stream in &mut idle {
        stream.write_all(b"GET /metr").expect("asked in part");
    }
    let began = Instant::now();
    for n in 0..200 {
        write(mounted.join(&format!("f{n}")), "x");
    }
    mounted.sync();
    mounted.umount().ok();
    // Each of them may take two seconds; neither writes nor the end wait for them in turn.
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn an_address_that_is_taken_or_none_is_said_and_nothing_is_mounted() {
    let sandbox = Sandbox::new("metrics-taken");
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let mount = |address: &str| {
        let mount = Cmd::rewindfs().arg("mount").arg(sandbox.work());
        mount.args(["--metrics", address]).run()
    };
    mount(&port.to_string())
        .exits(2)
        .says("choose another --metrics ADDR");
    mount("nonsense").exits(2).says("give a port");
    assert!(!sandbox.store().exists());
    assert!(crate::harness::mount::at(&sandbox.work()).is_none());
}
