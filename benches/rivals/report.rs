//! What a bench needs beside what it measures.

use std::process::Command;

/// Runs this program once more where loopback is its own. Answers false where that can't be.
pub(crate) fn enter_namespace(arguments: &[String]) -> bool {
    let program = std::env::current_exe().expect("a program");
    let script = "ip link set lo up && echo reno > /proc/sys/net/ipv4/tcp_congestion_control && exec \"$@\"";
    let can = Command::new("unshare").args(["-n", "sh", "-c", script, "sh", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        println!("no network namespace of its own here: figures of large blobs are blurred");
        return false;
    }
    let mut inside = Command::new("unshare");
    inside.args(["-n", "sh", "-c", script, "sh"]).arg(program).args(arguments).arg("--inside");
    let status = inside.status().expect("it ran before");
    assert!(status.success(), "{status}");
    true
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One line of the result: what was measured, the ratio or figure, and what it should be.
pub(crate) fn tell(goal: &str, what: &str, value: f64, limit: f64, unit: &str, at_most: bool) {
    let met = if at_most { value <= limit } else { value >= limit };
    let (relation, verdict) = (if at_most { "<=" } else { ">=" }, if met { "met" } else { "MISSED" });
    println!("goal {goal:>3}: {what}: {value:.2}{unit} ({relation} {limit}{unit}) {verdict}");
}
