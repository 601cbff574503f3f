//! Embeds the files of `policies/detectors/`.

#[path = "../embedded.rs"]
mod embedded;

fn main() -> std::io::Result<()> {
    embedded::list("detectors", "detector_files.rs")
}
