//! What the admin listener shows, from the running server.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cordon_console::Site;
use cordon_intercept::Pages;

use crate::{gate::Gate, supervise::EngineState};

/// The running server as the console sees it.
pub struct AdminSite {
    /// Its shared state.
    pub gate: Arc<Gate>,
    /// The same pages as on `http://cordon.internal/`.
    pub pages: ArcSwap<Pages>,
}

impl Site for AdminSite {
    fn unready(&self) -> Vec<String> {
        self.gate.unready()
    }

    fn metrics(&self) -> Vec<u8> {
        let gate = &self.gate;
        gate.metrics.render(
            &gate.recorder.metrics(),
            gate.engine.state() == EngineState::Ready,
        )
    }

    fn root_pem(&self) -> String {
        self.pages.load().get("/ca.pem").body
    }

    fn pac(&self) -> String {
        self.pages.load().get("/proxy.pac").body
    }

    fn instructions(&self) -> String {
        self.pages.load().get("/").body
    }
}
