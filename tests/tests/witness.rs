//! A witness cosigns one tree and no other, also when it is killed while two logs ask at once. The log is a program of its own.

use std::process::Command;

use cordon_tests::{Places, program::Program};

const LOG: &str = "cordon/acme+19110904+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_never_cosigns_a_fork() {
    let scratch = tempfile::tempdir().expect("a directory");
    let scratch = scratch.path().to_str().expect("a plain path");
    let cordon = Places::cordon();
    let cordon = cordon.to_str().expect("a plain path");
    let ran = Program::python("witness_log.py", &[cordon, scratch, "20"])
        .run()
        .await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn what_would_make_it_worth_nothing_is_refused_at_the_start() {
    let scratch = tempfile::tempdir().expect("a directory");
    let run = |arguments: &[&str]| {
        let output = Command::new(Places::cordon())
            .args(["audit", "witness", "--dir"])
            .arg(scratch.path())
            .args(arguments)
            .env_clear()
            .output()
            .expect("the binary can be run");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, told) = run(&["--log", LOG, "--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("--certificate"), "{told}");
    let (code, told) = run(&["--log", "cordon/acme"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("neither a key"), "{told}");
    // The key of a log in place of its own.
    let key = scratch.path().join("key");
    let private = "PRIVATE+KEY+cordon/acme+19110904+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    std::fs::write(&key, private).expect("a file");
    let key = key.to_str().expect("a plain path");
    let (code, told) = run(&["--log", LOG, "--listen", "127.0.0.1:0", "--key", key]);
    assert_eq!(code, Some(2));
    assert!(told.contains("not the key of a witness"), "{told}");
    assert!(!told.contains("AQEB"), "{told}");
}
