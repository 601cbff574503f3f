//! What RFC 6455 says of frames, through the real program: cases like those of the Autobahn test suite's chapters 1 to 7, by the
//! byte, and a client of the registries with compression and fragments.

use cordon_tests::{
    caller::{Caller, Door},
    cordon::{Home, OnPrem, POLICY_REQUESTED, Plan},
    program::Program,
    sockets::{RawSocket, frame},
    upstream::Upstream,
};
use serde_json::{Value, json};

const HOST: &str = "api.openai.com";
/// Frames of no dialect, which the policy passes: the provider says each text back.
const ECHO: &str = "/v1/unheard-of";
const CANARY: &str = "carla.canary@corp.example";

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const FINAL: u8 = 0x80;

struct Stage {
    cloud: Upstream,
    home: Home,
    key: String,
    _on_prem: Upstream,
}

async fn stage() -> Stage {
    let cloud = Upstream::behind_tls().await;
    cloud.speak(|message| vec![Some(message.to_owned())]);
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan {
        policy: Some(POLICY_REQUESTED.replace("unknown: block", "unknown: pass")),
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key("ann", "staff");
    Stage {
        cloud,
        home,
        key,
        _on_prem: on_prem,
    }
}

/// A text in fragments of that size; an empty one in three.
fn fragments(text: &[u8], size: usize) -> Vec<u8> {
    let mut pieces: Vec<&[u8]> = text.chunks(size.max(1)).collect();
    if pieces.is_empty() {
        pieces = vec![b"", b"", b""];
    }
    let last = pieces.len() - 1;
    let framed = pieces.iter().enumerate().map(|(at, piece)| {
        let kind = if at == 0 { TEXT } else { 0 };
        frame(kind | if at == last { FINAL } else { 0 }, piece)
    });
    framed.collect::<Vec<_>>().concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_any_length_and_in_any_fragments_come_through() {
    let stage = stage().await;
    let cordon = stage.home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &stage.key);
    let mut socket = RawSocket::open(&caller, HOST, ECHO).await.unwrap();
    for length in [0, 1, 125, 126, 127, 128, 65535, 65536, 1 << 20] {
        let text = vec![b'*'; length];
        for size in [usize::MAX, 997] {
            socket.send(&fragments(&text, size)).await.unwrap();
            let heard = socket.hear().await.unwrap();
            assert!(
                heard == Some((FINAL | TEXT, text.clone())),
                "{length} bytes in pieces of {size}"
            );
        }
    }
    // Letters of several bytes are cut anywhere.
    let text = "\u{3ba}\u{f3}\u{3c3}\u{3bc}\u{3b5} \u{10ffff} \u{fffd}".as_bytes();
    for size in 1..=text.len() {
        socket.send(&fragments(text, size)).await.unwrap();
        assert_eq!(
            socket.hear().await.unwrap(),
            Some((FINAL | TEXT, text.to_vec())),
            "{size}"
        );
    }
    // Control frames stand between fragments, and a pong that nobody asked for is nothing.
    let pinged = [
        frame(TEXT, b"one "),
        frame(PONG, b"unasked"),
        frame(PING, b"there?"),
        frame(FINAL, b"message"),
    ];
    socket.send(&pinged.concat()).await.unwrap();
    assert_eq!(socket.hear().await.unwrap(), Some((PONG, b"there?".to_vec())));
    assert_eq!(
        socket.hear().await.unwrap(),
        Some((FINAL | TEXT, b"one message".to_vec()))
    );
    for length in [0, 1, 125] {
        let payload = vec![0xfe; length];
        // By the byte.
        for byte in frame(PING, &payload) {
            socket.send(&[byte]).await.unwrap();
        }
        assert_eq!(socket.hear().await.unwrap(), Some((PONG, payload)));
    }
    socket.send(&frame(CLOSE, &[0x03, 0xe8])).await.unwrap();
    assert_eq!(socket.hear().await.unwrap(), Some((CLOSE, vec![0x03, 0xe8])));
    assert_eq!(socket.hear().await.unwrap(), None);
}

/// What a caller sends, and the code that closes the connection; `None` for a close without one.
fn endings() -> Vec<(&'static str, Vec<u8>, Option<u16>)> {
    let coded = |code: u16, reason: &[u8]| frame(CLOSE, &[&code.to_be_bytes(), reason].concat());
    let mut endings = vec![
        ("a ping of 126 bytes", frame(PING, &[0; 126]), Some(1002)),
        (
            "a ping in fragments",
            [frame(0x09, b"a"), frame(FINAL, b"b")].concat(),
            Some(1002),
        ),
        ("a fragment of nothing", frame(FINAL, b"x"), Some(1002)),
        (
            "a fragment behind a whole message",
            [fragments(b"x", 1), frame(0, b"y")].concat(),
            Some(1002),
        ),
        (
            "a message within another",
            [frame(TEXT, b"x"), frame(FINAL | TEXT, b"y")].concat(),
            Some(1002),
        ),
        (
            "bytes within a text",
            [frame(TEXT, b"x"), frame(FINAL | BINARY, b"y")].concat(),
            Some(1002),
        ),
        ("a frame without a mask", vec![FINAL | TEXT, 1, b'x'], Some(1002)),
        ("a close of one byte", frame(CLOSE, &[3]), Some(1002)),
        ("a reason of 124 bytes", coded(1000, &[b'*'; 124]), Some(1002)),
        ("a close with a reason", coded(1000, b"done"), Some(1000)),
        (
            "a close with a reason of 123 bytes",
            coded(1000, &[b'*'; 123]),
            Some(1000),
        ),
        ("a close without a code", frame(CLOSE, b""), None),
        (
            "a text that is not UTF-8",
            frame(FINAL | TEXT, b"\xce\xba\xe1\xbd\xed\xa0\x80"),
            Some(1007),
        ),
        (
            "a surrogate in fragments",
            fragments(b"x\xed\xa0\x80y", 2),
            Some(1007),
        ),
        (
            "a letter beyond Unicode",
            frame(FINAL | TEXT, b"\xf4\x90\x80\x80"),
            Some(1007),
        ),
        (
            "half a letter at the end",
            fragments(b"x\xf0\x9f\x98", 3),
            Some(1007),
        ),
        (
            "a length in too many bytes",
            vec![FINAL | TEXT, 0x80 | 126, 0, 1, 0, 0, 0, 0, b'x'],
            Some(1002),
        ),
    ];
    for bit in [0x40, 0x20, 0x10] {
        endings.push(("a reserved bit", frame(FINAL | TEXT | bit, b"x"), Some(1002)));
        endings.push(("a reserved bit on a ping", frame(PING | bit, b""), Some(1002)));
    }
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        endings.push(("a reserved opcode", frame(FINAL | opcode, b""), Some(1002)));
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        endings.push(("a code that nobody may send", coded(code, b""), Some(1002)));
    }
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        endings.push(("a code that may be sent", coded(code, b""), Some(code)));
    }
    endings
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_protocol_closes_the_connection_with_its_code() {
    let stage = stage().await;
    let cordon = stage.home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &stage.key);
    for (what, bytes, code) in endings() {
        let mut socket = RawSocket::open(&caller, HOST, ECHO).await.unwrap();
        socket.send(&bytes).await.unwrap();
        let mut closed = None;
        while let Some((first, payload)) = socket.hear().await.unwrap() {
            // A message that was whole before may have its answer; nothing follows a close.
            assert!(closed.is_none(), "{what}: {first} behind the close");
            if first == CLOSE {
                closed = Some(payload.first_chunk().map(|code| u16::from_be_bytes(*code)));
            }
        }
        assert_eq!(closed, Some(code), "{what}: {bytes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_registries_speaks_compressed_and_in_fragments() {
    let stage = stage().await;
    stage.cloud.speak(|message| {
        let asked: Value = serde_json::from_str(message).unwrap_or_default();
        let text = asked["input"].as_str().unwrap_or_default();
        let letters: Vec<char> = text.chars().collect();
        let deltas = letters.chunks(3).map(|piece| {
            let delta: String = piece.iter().collect();
            json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": delta})
        });
        let end = json!({"type": "response.completed", "response": {"id": "resp_1", "output": []}});
        deltas.chain([end]).map(|event| Some(event.to_string())).collect()
    });
    let cordon = stage.home.serve().await;
    let long = format!("{}write to {CANARY} today", "again and ".repeat(200));
    let secret = ["AKIA", "5QZ7XK2PWNDV3MRT"].concat();
    let ran = Program::python(
        "websocket_talk.py",
        &[
            &format!("wss://{HOST}/v1/responses"),
            &long,
            &format!("is {secret} valid?"),
            "still here",
        ],
    )
    .through_proxy(&cordon, &stage.key)
    .run()
    .await;
    assert_eq!(ran.code, 0, "{ran:?}\n{}", cordon.log());
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "['PerMessageDeflate']");
    assert_eq!(lines[1], long);
    assert!(lines[2].contains("secrets-stay"), "{}", lines[2]);
    assert_eq!(lines[3..], ["still here", "1000"], "{ran:?}");
    assert!(!stage.cloud.knows(CANARY) && !stage.cloud.knows(&secret));
}
