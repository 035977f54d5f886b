//! Plays the remote host of a scenario.

use std::collections::VecDeque;
use std::time::Duration;

use crate::backend::{Backend, BackendError, Injection};
use crate::matching::Perspective;
use crate::outcome::{Fault, Outcome};
use crate::script::{Call, From, Pattern, Scenario, Statement, What, When};
use crate::wire::{Flags, Segment};

/// Runs a scenario. An error is one of the runner's own surroundings.
pub fn run(scenario: &Scenario, backend: &mut dyn Backend) -> Result<Outcome, BackendError> {
    let mut runner = Runner {
        backend,
        perspective: Perspective {
            injected_isn: scenario.settings.isn.unwrap_or(DEFAULT_ISN),
            host_isn: None,
            last_timestamp: 0,
            host_port: 0,
            remote_port: REMOTE_PORT,
        },
        came: VecDeque::new(),
        last: Duration::ZERO,
        trace: Vec::new(),
    };
    for statement in &scenario.statements {
        if let Err(step) = runner.step(statement) {
            return runner.fault(scenario, statement, step);
        }
    }
    let end = Statement {
        line: scenario.statements.last().map_or(0, |last| last.line),
        text: "no more segments".to_owned(),
        when: When {
            from: From::StatementBefore,
            earliest: Duration::ZERO,
            latest: Duration::ZERO,
        },
        what: What::Silence(SILENCE_AT_END),
    };
    match runner.step(&end) {
        Ok(()) => Ok(Outcome::Passed),
        Err(step) => runner.fault(scenario, &end, step),
    }
}

/// Why a statement is not true, or could not be tried.
enum Step {
    Untrue(String),
    Backend(BackendError),
}

impl std::convert::From<BackendError> for Step {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Call(what) => Self::Untrue(what),
            BackendError::Needs(_) | BackendError::System { .. } => Self::Backend(error),
        }
    }
}

struct Runner<'a> {
    backend: &'a mut dyn Backend,
    perspective: Perspective,
    came: VecDeque<(Duration, Segment)>,
    /// When the statement before happened.
    last: Duration,
    trace: Vec<String>,
}

impl Runner<'_> {
    fn fault(
        self,
        scenario: &Scenario,
        statement: &Statement,
        step: Step,
    ) -> Result<Outcome, BackendError> {
        let what = match step {
            Step::Untrue(what) => what,
            Step::Backend(error) => return Err(error),
        };
        Ok(Outcome::Failed(Box::new(Fault {
            name: scenario.name.clone(),
            line: statement.line,
            text: statement.text.clone(),
            at: self.backend.now(),
            what,
            trace: self.trace,
        })))
    }

    fn step(&mut self, statement: &Statement) -> Result<(), Step> {
        let base = match statement.when.from {
            From::Start => Duration::ZERO,
            From::StatementBefore => self.last,
        };
        let earliest = base + statement.when.earliest;
        let latest = base + statement.when.latest;
        match &statement.what {
            What::Expect(patterns) => return self.expect(patterns, earliest, latest),
            What::MayCome(patterns) => return self.may_come(patterns, earliest, latest),
            What::Inject(_)
            | What::Icmp(_)
            | What::Silence(_)
            | What::NewIsn
            | What::Call(_)
            | What::Assert(_) => self.wait(earliest)?,
        }
        match &statement.what {
            What::Expect(_) | What::MayCome(_) => {}
            What::Inject(pattern) => self.inject(pattern)?,
            What::Icmp(icmp) => {
                let injection = Injection::Icmp {
                    kind: icmp.kind,
                    host_port: self.perspective.host_port,
                    remote_port: self.perspective.remote_port,
                    seq: self.perspective.host_seq(icmp.seq),
                };
                self.note('<', "icmp");
                self.backend.inject(&injection)?;
            }
            What::Silence(duration) => self.silence(*duration)?,
            What::NewIsn => self.perspective.host_isn = None,
            What::Call(call) => self.call(*call)?,
            What::Assert(claim) => self.backend.claim(*claim)?,
        }
        self.last = self.backend.now();
        Ok(())
    }

    fn call(&mut self, call: Call) -> Result<(), Step> {
        match call {
            Call::Listen(port) => self.perspective.host_port = port,
            Call::Connect => self.perspective.host_isn = None,
            Call::Accept | Call::Write(_) | Call::Read(_) | Call::Shutdown | Call::Abort => {}
        }
        Ok(self.backend.call(call)?)
    }

    fn inject(&mut self, pattern: &Pattern) -> Result<(), Step> {
        let segment = self.perspective.make(pattern);
        let words = self.perspective.describe_injected(&segment);
        self.note('<', &words);
        self.backend.inject(&Injection::Segment(segment.emit()))?;
        Ok(())
    }

    /// Lets time pass; what comes meanwhile is kept.
    fn wait(&mut self, until: Duration) -> Result<(), Step> {
        while self.backend.now() < until {
            self.receive(until)?;
        }
        Ok(())
    }

    /// Lets a segment come, until a time.
    fn receive(&mut self, until: Duration) -> Result<(), Step> {
        if let Some((at, octets)) = self.backend.next_segment(until)?
            && let Some(segment) = Segment::parse(&octets)
        {
            self.came.push_back((at, segment));
        }
        Ok(())
    }

    fn expect(
        &mut self,
        patterns: &[Pattern],
        earliest: Duration,
        latest: Duration,
    ) -> Result<(), Step> {
        let tolerance = self.backend.tolerance();
        let Some((at, segment)) = self.peek(latest + tolerance)? else {
            let late = format!(
                "nothing came until {:.4} s",
                self.backend.now().as_secs_f64()
            );
            return Err(Step::Untrue(late));
        };
        self.learn(&segment);
        if let Err(differ) = self.compare(patterns, &segment) {
            return Err(Step::Untrue(differ));
        }
        self.take();
        if at + tolerance < earliest || at > latest + tolerance {
            return Err(Step::Untrue(format!(
                "it came at {:.4} s, not from {:.4} to {:.4} s",
                at.as_secs_f64(),
                earliest.as_secs_f64(),
                latest.as_secs_f64()
            )));
        }
        self.last = at;
        Ok(())
    }

    fn may_come(
        &mut self,
        patterns: &[Pattern],
        earliest: Duration,
        latest: Duration,
    ) -> Result<(), Step> {
        let tolerance = self.backend.tolerance();
        if let Some((at, segment)) = self.peek(latest + tolerance)?
            && at <= latest + tolerance
            && at + tolerance >= earliest
            && self.compare(patterns, &segment).is_ok()
        {
            self.take();
            self.last = at;
        }
        Ok(())
    }

    fn silence(&mut self, duration: Duration) -> Result<(), Step> {
        let until = self.backend.now() + duration;
        match self.peek(until)? {
            None => Ok(()),
            Some((_, segment)) => {
                let words = self.perspective.describe(&segment);
                Err(Step::Untrue(format!("not expected: {words}")))
            }
        }
    }

    fn peek(&mut self, until: Duration) -> Result<Option<(Duration, Segment)>, Step> {
        while self.came.is_empty() && self.backend.now() < until {
            self.receive(until)?;
        }
        Ok(self.came.front().cloned())
    }

    /// The host's numbers, from its SYN.
    fn learn(&mut self, segment: &Segment) {
        if segment.flags.has(Flags::SYN) && self.perspective.host_isn.is_none() {
            self.perspective.host_isn = Some(segment.seq);
            self.perspective.host_port = segment.source_port;
            self.perspective.remote_port = segment.destination_port;
        }
    }

    fn compare(&self, patterns: &[Pattern], segment: &Segment) -> Result<(), String> {
        let mut first = None;
        for pattern in patterns {
            let differ = self.perspective.differences(pattern, segment);
            if differ.is_empty() {
                return Ok(());
            }
            first.get_or_insert(differ);
        }
        let differ = first.unwrap_or_default().join(", ");
        let words = self.perspective.describe(segment);
        Err(format!("it was: > {words} (not as expected: {differ})"))
    }

    fn take(&mut self) {
        if let Some((at, segment)) = self.came.pop_front() {
            if let Some(timestamp) = segment.timestamp() {
                self.perspective.last_timestamp = timestamp;
            }
            let words = self.perspective.describe(&segment);
            self.trace
                .push(format!("{:.4} > {words}", at.as_secs_f64()));
        }
    }

    fn note(&mut self, direction: char, words: &str) {
        let now = self.backend.now().as_secs_f64();
        self.trace.push(format!("{now:.4} {direction} {words}"));
    }
}

const DEFAULT_ISN: u32 = 1_000_000;
/// Of what is injected, until the host opens a connection.
const REMOTE_PORT: u16 = 40_000;
const SILENCE_AT_END: Duration = Duration::from_millis(20);
