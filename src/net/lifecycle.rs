//! The stages of pen's life, which all threads that serve clients follow.

use tokio::sync::watch;

/// The stage of pen's life. Stages follow in this order; the second may be skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LifeStage {
    /// It accepts and serves clients.
    Serve,
    /// It accepts no new clients and serves the present ones.
    Drain,
    /// It ends the remaining connections, and itself.
    End,
}

/// The current stage, shared by all threads.
#[derive(Debug)]
pub struct Lifecycle(watch::Sender<LifeStage>);

impl Default for Lifecycle {
    fn default() -> Self {
        Lifecycle(watch::Sender::new(LifeStage::Serve))
    }
}

impl Lifecycle {
    /// The current stage.
    pub fn stage(&self) -> LifeStage {
        *self.0.borrow()
    }

    /// Enters a stage; there is no way back.
    pub fn enter(&self, stage: LifeStage) {
        self.0.send_modify(|now| *now = (*now).max(stage));
    }

    /// Waits until pen is in this stage or a later one.
    pub async fn reaches(&self, stage: LifeStage) {
        // The sender lives as long as this does.
        _ = self.0.subscribe().wait_for(|now| *now >= stage).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_are_entered_once_and_in_order() {
        let lifecycle = Lifecycle::default();
        tokio::join!(lifecycle.reaches(LifeStage::Drain), async { lifecycle.enter(LifeStage::End) });
        lifecycle.enter(LifeStage::Drain);
        assert_eq!(lifecycle.stage(), LifeStage::End);
    }
}
