//! The chart, by Helm's own library: it lints, it renders what it should under several values, it
//! refuses wrong ones, and Cordon takes the configuration that it writes.

use std::process::Command;

use cordon_tests::Places;

#[test]
fn the_chart_lints_and_renders() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let config = folder.path().join("cordon.yaml");
    let output = Command::new(Places::python())
        .arg("-B")
        .arg(Places::client_script("helm_chart.py"))
        .arg(Places::top().join("helm/cordon"))
        .arg(&config)
        .output()
        .expect("Python can be run");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );

    let checked = Command::new(Places::cordon())
        .args(["check", "--config"])
        .arg(&config)
        .env("DATABASE_URL", "postgres://database/cordon")
        .output()
        .expect("the binary can be run");
    assert!(
        checked.status.success(),
        "{}{}",
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr)
    );
}
