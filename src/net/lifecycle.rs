//! The stages of pen's life, which everyone who serves clients follows.

use tokio::sync::watch;

/// How far pen has come. Stages follow each other in this order; the second may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LifeStage {
    /// It takes clients and serves them.
    Serve,
    /// It takes no new clients and serves those that it has.
    Drain,
    /// It ends the connections that are left, and itself.
    End,
}

/// The stage that pen is in, shared by all threads.
#[derive(Debug)]
pub struct Lifecycle(watch::Sender<LifeStage>);

impl Default for Lifecycle {
    fn default() -> Self {
        Lifecycle(watch::Sender::new(LifeStage::Serve))
    }
}

impl Lifecycle {
    /// The stage that pen is in.
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
