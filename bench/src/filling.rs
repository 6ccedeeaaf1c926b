//! `pen-bench filling`: a model of the rule "one worker is filled before the next", with seeds.
//!
//! Long-lived connections come idle and stay with the worker that has accepted them. They are active by turns, and many become
//! active together, whatever worker they are on. Would workers be idle while another one cannot serve all of its
//! connections, and would moving live connections help? Time goes in steps of 100 ms, as a worker would look at the time
//! that it was on a processor.

use std::fmt::Write as _;

use fastrand::Rng;

/// How many histories, and their length in steps.
const SEEDS: u64 = 40;
const STEPS: usize = 2_000;
/// How many steps a level of demand lasts.
const LEVEL: usize = 100;
/// How likely an active connection becomes idle in a step, and any connection ends.
const RESTS: f64 = 0.02;
const ENDS: f64 = 1.0 / 600.0;
/// All connections together, were they active, want this many times what all workers can do.
const ALL_ACTIVE: f64 = 1.25;

/// The share of its time from which a worker passes the accept token on, from which it gives connections away, and below
/// which another one may take them.
const PASSES: f64 = 0.75;
const GIVES: f64 = 0.90;
const TAKES: f64 = 0.60;
/// A move back within so many steps was in vain.
const SOON: usize = 10;

/// What decides where connections are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Placement {
    /// A client goes to the worker with the fewest connections.
    Even,
    /// A client goes to the worker that has the token, until that one is busy.
    Filled,
    /// Likewise, and a worker at its limit gives half of the difference to the least busy one.
    Relieved,
    /// Likewise, and the least busy worker is emptied where another one has room for its connections.
    Emptied,
}

impl Placement {
    const ALL: [(Placement, &str); 4] = [
        (Placement::Even, "even shares, as now"),
        (Placement::Filled, "filled, nothing moves"),
        (Placement::Relieved, "filled, over 90 % moves"),
        (Placement::Emptied, "the same, and the least busy is emptied"),
    ];
}

struct Connection {
    worker: usize,
    /// The share of a processor that it wants while it is active.
    wants: f64,
    active: bool,
    /// When it was moved last, and from where.
    moved: Option<(usize, usize)>,
}

/// What a history has shown, summed up over its steps; the longest is a maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct HistorySummary {
    steps: usize,
    possible: f64,
    done: f64,
    awake: f64,
    moves: usize,
    in_vain: usize,
    /// Steps in which a worker was at its limit while another was less than half busy.
    longest_starved: usize,
}

impl HistorySummary {
    fn and(self, other: HistorySummary) -> HistorySummary {
        HistorySummary {
            steps: self.steps + other.steps,
            possible: self.possible + other.possible,
            done: self.done + other.done,
            awake: self.awake + other.awake,
            moves: self.moves + other.moves,
            in_vain: self.in_vain + other.in_vain,
            longest_starved: self.longest_starved.max(other.longest_starved),
        }
    }
}

struct Model {
    rule: Placement,
    random: Rng,
    connections: Vec<Connection>,
    /// What the connections of each worker want together.
    load: Vec<f64>,
    holder: usize,
    starved: usize,
}

impl Model {
    fn new(rule: Placement, workers: usize, connections: usize, seed: u64) -> Self {
        let mut model = Model {
            rule,
            random: Rng::with_seed(seed),
            connections: Vec::with_capacity(connections),
            load: vec![0.0; workers],
            holder: 0,
            starved: 0,
        };
        let unit = ALL_ACTIVE * workers as f64 / connections as f64;
        for _ in 0..connections {
            let worker = model.accepting();
            let wants = unit * (0.5 + model.random.f64());
            model.connections.push(Connection { worker, wants, active: false, moved: None });
        }
        model
    }

    /// The worker that accepts the next client.
    fn accepting(&mut self) -> usize {
        if self.rule == Placement::Even || self.load[self.holder] >= PASSES {
            let mut counts = vec![0; self.load.len()];
            self.connections.iter().for_each(|connection| counts[connection.worker] += 1);
            self.holder = (0..counts.len()).min_by_key(|worker| counts[*worker]).unwrap_or(0);
        }
        self.holder
    }

    fn wanted(&self) -> f64 {
        self.connections.iter().filter(|c| c.active).map(|c| c.wants).sum()
    }

    /// Connections end and others come, and as many are active as `demand` asks for, in processors.
    fn live(&mut self, demand: f64) {
        for at in 0..self.connections.len() {
            if self.random.f64() < ENDS {
                let worker = self.accepting();
                let gone = &mut self.connections[at];
                (gone.worker, gone.active, gone.moved) = (worker, false, None);
            } else if self.random.f64() < RESTS {
                self.connections[at].active = false;
            }
        }
        let mut order: Vec<usize> = (0..self.connections.len()).collect();
        self.random.shuffle(&mut order);
        let mut wanted = self.wanted();
        for at in order {
            let connection = &mut self.connections[at];
            if connection.active && wanted > demand {
                connection.active = false;
                wanted -= connection.wants;
            } else if !connection.active && wanted + connection.wants <= demand {
                connection.active = true;
                wanted += connection.wants;
            }
        }
        self.load.fill(0.0);
        for connection in self.connections.iter().filter(|c| c.active) {
            self.load[connection.worker] += connection.wants;
        }
    }

    /// Takes a look at this step.
    fn look(&mut self, seen: &mut HistorySummary) {
        let workers = self.load.len() as f64;
        seen.steps += 1;
        seen.possible += self.wanted().min(workers);
        seen.done += self.load.iter().map(|load| load.min(1.0)).sum::<f64>();
        seen.awake += self.load.iter().filter(|load| **load > 0.0).count() as f64 / workers;
        let starves = self.load.iter().any(|load| *load >= 1.0) && self.load.iter().any(|load| *load < 0.5);
        self.starved = if starves { self.starved + 1 } else { 0 };
        seen.longest_starved = seen.longest_starved.max(self.starved);
    }

    /// Moves connections, as the rule says.
    fn relieve(&mut self, step: usize, seen: &mut HistorySummary) {
        let by_load = |a: &usize, b: &usize| self.load[*a].total_cmp(&self.load[*b]);
        let mut order: Vec<usize> = (0..self.load.len()).collect();
        order.sort_by(by_load);
        let [least, .., most] = order[..] else { return };
        if self.rule >= Placement::Relieved && self.load[most] > GIVES && self.load[least] < TAKES {
            let share = (self.load[most] - self.load[least]) / 2.0;
            self.give(most, least, share, step, seen);
        } else if self.rule == Placement::Emptied {
            let mut awake = order.into_iter().filter(|worker| self.load[*worker] > 0.0);
            if let (Some(first), Some(second)) = (awake.next(), awake.next())
                && self.load[first] + self.load[second] < TAKES
            {
                self.give(first, second, f64::INFINITY, step, seen);
            }
        }
    }

    fn give(&mut self, from: usize, to: usize, share: f64, step: usize, seen: &mut HistorySummary) {
        let mut left = share;
        for connection in self.connections.iter_mut().filter(|c| c.active && c.worker == from) {
            if connection.wants <= left {
                left -= connection.wants;
                let back = connection.moved.is_some_and(|(when, by)| by == to && step - when <= SOON);
                seen.moves += 1;
                seen.in_vain += usize::from(back);
                connection.moved = Some((step, from));
                connection.worker = to;
                self.load[from] -= connection.wants;
                self.load[to] += connection.wants;
            }
        }
    }
}

/// A history: `low` and `high` are what is wanted, as a share of what all workers can do.
fn history(
    rule: Placement,
    (workers, connections): (usize, usize),
    (low, high): (f64, f64),
    seed: u64,
) -> HistorySummary {
    let mut model = Model::new(rule, workers, connections, seed);
    let (mut seen, mut demand) = (HistorySummary::default(), 0.0);
    for step in 0..STEPS {
        if step % LEVEL == 0 {
            demand = (low + (high - low) * model.random.f64()) * workers as f64;
        }
        model.live(demand);
        model.look(&mut seen);
        model.relieve(step, &mut seen);
    }
    seen
}

/// Prints the table.
///
/// # Errors
/// There is an argument.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    if !args.is_empty() {
        return Err("filling: no argument is allowed".into());
    }
    let mut table = String::from(
        "| rule | workers | demand | work undone | longest starved | workers awake | moves a second | back within 1 s |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for demand in [(0.05, 0.40), (0.30, 0.90)] {
        for size in [(2, 64), (4, 200)] {
            for (rule, name) in Placement::ALL {
                let each = (0..SEEDS).map(|seed| history(rule, size, demand, seed));
                let seen = each.fold(HistorySummary::default(), HistorySummary::and);
                let steps = seen.steps as f64;
                let _ = writeln!(
                    table,
                    "| {name} | {} | {:.0} to {:.0} % | {:.1} % | {:.1} s | {:.2} | {:.2} | {:.1} % |",
                    size.0,
                    demand.0 * 100.0,
                    demand.1 * 100.0,
                    100.0 * (1.0 - seen.done / seen.possible),
                    seen.longest_starved as f64 / 10.0,
                    seen.awake / steps,
                    10.0 * seen.moves as f64 / steps,
                    100.0 * seen.in_vain as f64 / (seen.moves.max(1) as f64),
                );
            }
        }
    }
    print!("{table}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: (f64, f64) = (0.30, 0.90);

    #[test]
    fn a_seed_has_one_history() {
        for (rule, _) in Placement::ALL {
            assert_eq!(history(rule, (2, 64), BUSY, 7), history(rule, (2, 64), BUSY, 7));
        }
    }

    #[test]
    fn only_moving_keeps_a_filled_worker_from_starving_its_clients() {
        let [even, filled, relieved, _] =
            Placement::ALL.map(|(rule, _)| (0..4).map(move |seed| history(rule, (4, 200), BUSY, seed)));
        let [even, filled, relieved] =
            [even, filled, relieved].map(|all| all.fold(HistorySummary::default(), HistorySummary::and));
        let undone = |seen: &HistorySummary| 1.0 - seen.done / seen.possible;
        assert!(undone(&filled) > 4.0 * undone(&even), "{filled:?} {even:?}");
        assert!(undone(&relieved) < 0.02, "{relieved:?}");
        assert!(relieved.longest_starved < filled.longest_starved / 10, "{relieved:?} {filled:?}");
        assert_eq!((even.moves, filled.moves), (0, 0));
    }

    #[test]
    fn no_rule_loses_or_changes_what_is_wanted() {
        for (rule, _) in Placement::ALL {
            let mut model = Model::new(rule, 3, 90, 1);
            for step in 0..500 {
                model.live(1.5);
                model.relieve(step, &mut HistorySummary::default());
                let sum: f64 = model.load.iter().sum();
                assert!((sum - model.wanted()).abs() < 1e-9 && sum <= 1.5 + 1e-9, "{rule:?} {step}");
            }
        }
    }
}
