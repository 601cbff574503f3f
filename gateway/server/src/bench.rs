//! placeholder
use std::process::ExitCode;
/// x
#[derive(clap::Args)]
pub struct Bench {}
impl Bench {
    /// x
    pub fn run(self) -> anyhow::Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }
}
