//! Whether a chain of nodes saves time at all. How much, `synhop-lab bench` measures.

mod common;

use common::{Site, turn};
use synhop_lab::{ChainSpec, CurlOutcome, Lab, Via};

/// With a chain that splits the path, the first octet comes sooner than without.
#[test]
fn chains_are_faster_than_the_direct_way() {
    let Some(_turn) = turn("chains_are_faster_than_the_direct_way") else {
        return;
    };
    for nodes in 1..=3 {
        let mut site = Site::new(
            Lab::builder().nodes(nodes).rtt_ms(RTT_MS),
            &ChainSpec::default(),
            &[BODY],
        );
        let through: Vec<_> = (0..RUNS).map(|_| site.fetch_intact(BODY)).collect();
        let direct: Vec<_> = (0..RUNS).map(|_| site.fetch(BODY, Via::Direct)).collect();
        assert!(direct.iter().all(CurlOutcome::is_success), "{direct:?}");
        let (through, direct) = (median_us(&through), median_us(&direct));
        println!("{nodes} nodes: first octet after {through} us, directly {direct} us");
        // The model says 75, 67 and 62.5 %; half of the least saving is left for a busy machine.
        assert!(through * 8 < direct * 7, "{through} and {direct} us");
        site.close();
    }
}

fn median_us(outcomes: &[CurlOutcome]) -> u64 {
    let mut times: Vec<_> = outcomes.iter().map(|it| it.first_byte_us).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

const RTT_MS: u64 = 100;
const RUNS: usize = 5;
const BODY: u64 = 10_000;
