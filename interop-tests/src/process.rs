//! Programs under supervision: their lines are kept, and they do not survive
//! the value that stands for them.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::{LabError, sys, wait_until};

/// A program to be started.
pub struct ProcessBuilder {
    name: String,
    command: Command,
    log: Option<PathBuf>,
}

impl ProcessBuilder {
    /// `command` comes from [`Namespace::command`](crate::Namespace::command),
    /// or from anywhere else; `name` is for messages.
    pub fn new(name: impl Into<String>, command: Command) -> Self {
        Self {
            name: name.into(),
            command,
            log: None,
        }
    }

    /// Also writes every line of output to a file.
    #[must_use]
    pub fn log_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Starts it, with its input closed.
    pub fn start(self) -> Result<Process, LabError> {
        let Self {
            name,
            mut command,
            log,
        } = self;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        sys::bind_to_spawner(&mut command);
        let log = log.map(|path| {
            File::create(&path).map_err(LabError::system(format!("create {}", path.display())))
        });
        let output = Arc::new(Output {
            kept: Mutex::default(),
            changed: Condvar::new(),
        });
        output.kept().log = log.transpose()?;
        let mut child = spawn(command).map_err(LabError::system(format!("start {name}")))?;
        running().insert(child.id());
        if let Some(stdout) = child.stdout.take() {
            output.follow(stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            output.follow(stderr);
        }
        Ok(Process {
            name,
            child,
            output,
            status: None,
        })
    }
}

/// A running program; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The lines that it has printed so far, both streams in one; the oldest
    /// are forgotten beyond 10,000.
    pub fn lines(&self) -> Vec<String> {
        self.output.kept().lines.iter().cloned().collect()
    }

    /// The lines from number `from` on (0 is the first ever printed): a mark
    /// taken with [`Self::line_count`] separates old from new.
    pub fn lines_from(&self, from: usize) -> Vec<String> {
        self.output.kept().from(from).cloned().collect()
    }

    /// How many lines it has ever printed.
    pub fn line_count(&self) -> usize {
        let kept = self.output.kept();
        kept.forgotten + kept.lines.len()
    }

    /// Waits until it has printed a line that contains `pattern`.
    pub fn wait_for_line(&self, pattern: &str, bound: Duration) -> Result<String, LabError> {
        self.wait_for_line_from(0, pattern, bound)
    }

    /// The same, among the lines from number `from` on.
    pub fn wait_for_line_from(
        &self,
        from: usize,
        pattern: &str,
        bound: Duration,
    ) -> Result<String, LabError> {
        let end = Instant::now() + bound;
        let mut kept = self.output.kept();
        loop {
            if let Some(line) = kept.from(from).find(|line| line.contains(pattern)) {
                return Ok(line.clone());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || kept.open_streams == 0 {
                return Err(LabError::Timeout {
                    what: format!("a line of {} with {pattern:?}", self.name),
                    bound,
                    detail: format!("it printed: {}", kept.tail()),
                });
            }
            let woken = self.output.changed.wait_timeout(kept, left);
            kept = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) -> Result<(), LabError> {
        let sent = sys::send_signal(self.id(), signal);
        sent.map_err(LabError::system(format!(
            "send signal {signal} to {}",
            self.name
        )))
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, LabError> {
        if self.status.is_none() {
            let status = self.child.try_wait();
            self.status = status.map_err(LabError::system(format!("wait for {}", self.name)))?;
            if self.status.is_some() {
                running().remove(&self.child.id());
            }
        }
        Ok(self.status)
    }

    /// Waits until it ends, and until all that it printed has been read.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus, LabError> {
        let what = format!("{} to end", self.name);
        let status = wait_until(&what, bound, || self.status().transpose())??;
        // A grandchild may hold the streams open: then what is there must do.
        let _ = wait_until("the end of its output", OUTPUT_BOUND, || {
            (self.output.kept().open_streams == 0).then_some(())
        });
        Ok(status)
    }

    /// Asks it to end (SIGTERM), and kills it if it has not within `bound`.
    pub fn stop(&mut self, bound: Duration) -> Result<ExitStatus, LabError> {
        if let Some(status) = self.status()? {
            return Ok(status);
        }
        self.signal(libc::SIGTERM)?;
        if let Ok(status) = self.wait(bound) {
            return Ok(status);
        }
        tracing::warn!(name = self.name, "does not end on SIGTERM: killed");
        self.signal(libc::SIGKILL)?;
        self.wait(KILL_BOUND)
    }

    /// How many descriptors it has open.
    pub fn open_descriptors(&self) -> Result<usize, LabError> {
        let path = Path::new("/proc").join(self.id().to_string()).join("fd");
        let entries = fs::read_dir(&path);
        Ok(entries
            .map_err(LabError::system(format!("list {}", path.display())))?
            .count())
    }

    /// Processor time that it has used: user and system.
    pub fn cpu_time(&self) -> Result<Duration, LabError> {
        cpu_time(&Path::new("/proc").join(self.id().to_string()).join("stat"))
    }

    /// An error that quotes the end of its output.
    pub fn failure(&self) -> LabError {
        LabError::ProgramFailed {
            program: self.name.clone(),
            status: self
                .status
                .map_or("running".to_owned(), |status| status.to_string()),
            output: self.output.kept().tail(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.status(), Ok(Some(_))) {
            // By pid, of a child that has not been waited for: nobody else's.
            let _ = self.child.kill();
            let _ = self.child.wait();
            running().remove(&self.child.id());
        }
    }
}

/// Kills every supervised process: the last thing before an exit without
/// Drop.
pub(crate) fn kill_all() {
    for pid in running().iter() {
        let _ = sys::send_signal(*pid, libc::SIGKILL);
    }
}

/// Reads user + system time out of a `/proc/.../stat` file.
pub(crate) fn cpu_time(stat: &Path) -> Result<Duration, LabError> {
    let text = fs::read_to_string(stat);
    let text = text.map_err(LabError::system(format!("read {}", stat.display())))?;
    // The command's name, in parentheses, may hold spaces: count behind it.
    let fields = text
        .rsplit_once(')')
        .map_or("", |(_, fields)| fields)
        .split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 1000 / CLOCK_TICKS_PER_SECOND))
}

/// What a process has printed.
struct Output {
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    forgotten: usize,
    open_streams: usize,
    log: Option<File>,
}

impl Output {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a stream to its end on a thread of its own.
    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        self.kept().open_streams += 1;
        let output = Arc::clone(self);
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(read_line(&mut stream, &mut line), Ok(1..)) {
                output
                    .kept()
                    .add(String::from_utf8_lossy(&line).trim_end().to_owned());
                output.changed.notify_all();
            }
            output.kept().open_streams -= 1;
            output.changed.notify_all();
        });
    }
}

fn read_line(stream: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    line.clear();
    // A program that never ends its line must not fill the memory.
    stream.take(LINE_OCTETS).read_until(b'\n', line)
}

impl Kept {
    fn add(&mut self, line: String) {
        if let Some(log) = &mut self.log {
            // A full disk is no reason to lose the lines in memory.
            let _ = writeln!(log, "{line}");
        }
        if self.lines.len() >= LINES {
            self.lines.pop_front();
            self.forgotten += 1;
        }
        self.lines.push_back(line);
    }

    fn from(&self, number: usize) -> impl Iterator<Item = &String> {
        self.lines
            .iter()
            .skip(number.saturating_sub(self.forgotten))
    }

    fn tail(&self) -> String {
        let skip = self.lines.len().saturating_sub(TAIL_LINES);
        self.lines
            .iter()
            .skip(skip)
            .flat_map(|line| ["\n    ", line])
            .collect()
    }
}

/// Starts children from one thread that lives as long as the process: they
/// are killed when the *thread* that started them ends.
fn spawn(command: Command) -> std::io::Result<Child> {
    let (answer, child) = mpsc::channel();
    let starter = STARTER.lock().unwrap_or_else(PoisonError::into_inner);
    let gone = || std::io::Error::other("the thread that starts processes is gone");
    starter.send((command, answer)).map_err(|_| gone())?;
    drop(starter);
    child.recv().map_err(|_| gone())?
}

type Order = (Command, Sender<std::io::Result<Child>>);

static STARTER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (sender, orders) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in orders {
            let _ = answer.send(command.spawn());
        }
    });
    Mutex::new(sender)
});

static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

const LINES: usize = 10_000;
const LINE_OCTETS: u64 = 1 << 16;
const TAIL_LINES: usize = 20;
const OUTPUT_BOUND: Duration = Duration::from_secs(1);
const KILL_BOUND: Duration = Duration::from_secs(5);
/// `USER_HZ`, the same on every Linux architecture in use.
const CLOCK_TICKS_PER_SECOND: u64 = 100;
