//! Embeds the files of `policies/dialects/`.

#[path = "../embedded.rs"]
mod embedded;

fn main() -> std::io::Result<()> {
    embedded::list("dialects", "dialect_files.rs")
}
