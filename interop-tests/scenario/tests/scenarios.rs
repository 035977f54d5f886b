//! Every scenario on both hosts, and which rows of the conformance table they prove.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use synhop_scenario::backend::BackendError;
use synhop_scenario::{On, Outcome, Scenario};

/// All of them, by name.
fn all() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(folder).expect("the folder of scenarios");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let scenarios = paths.iter().map(|path| Scenario::load(path));
    scenarios
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_engine_does_as_the_scenarios_say() {
    let mut faults = Vec::new();
    for scenario in all() {
        match On::Engine.run(&scenario) {
            Ok(Outcome::Passed) => {}
            Ok(Outcome::Failed(fault)) => faults.push(fault.to_string()),
            Err(error) => faults.push(format!("{}: {error}", scenario.name)),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_kernel_does_as_the_scenarios_say() {
    let scenarios = all();
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _worker in 0..WORKERS {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(fault) = on_kernel(scenario) {
                        faults.lock().expect("no panic").push(fault);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().expect("no panic");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// In real time a busy machine is late now and then: that is said, and it has another go.
fn on_kernel(scenario: &Scenario) -> Result<(), String> {
    let mut faults = Vec::new();
    for _attempt in 0..ATTEMPTS {
        match On::Kernel.run(scenario) {
            Ok(Outcome::Passed) => {
                for fault in &faults {
                    eprintln!("passed only when repeated: {fault}");
                }
                return Ok(());
            }
            Ok(Outcome::Failed(fault)) => faults.push(fault.to_string()),
            Err(error @ BackendError::Needs(_)) => {
                println!("SKIP {} on the kernel: {error}", scenario.name);
                return Ok(());
            }
            Err(error) => faults.push(format!("{}: {error}", scenario.name)),
        }
    }
    Err(faults.join("\n"))
}

/// Which scenario proves which row: a new one is entered here too.
#[test]
fn the_rows_of_the_table() {
    let mut rows = BTreeMap::<u32, Vec<String>>::new();
    for scenario in all() {
        assert!(!scenario.rows.is_empty(), "{}: no row", scenario.name);
        for row in &scenario.rows {
            rows.entry(*row).or_default().push(scenario.name.clone());
        }
    }
    let lines = rows
        .iter()
        .map(|(row, names)| format!("{row}: {}\n", names.join(" ")));
    let table: String = lines.collect();
    assert_eq!(
        table,
        include_str!("rows.txt"),
        "tests/rows.txt should be:\n{table}"
    );
}

const WORKERS: usize = 4;
const ATTEMPTS: usize = 3;
