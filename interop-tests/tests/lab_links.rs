//! What the emulated links do, measured on real traffic.

use std::time::Duration;

use synhop_lab::{CurlSpec, Lab, LinkSpec, Via, skip_without_root};

#[test]
fn direct_fetch_takes_two_round_trips() {
    if skip_without_root("direct_fetch_takes_two_round_trips") {
        return;
    }
    let rate = LinkSpec::new(Duration::ZERO, Some(100_000_000));
    let lab = Lab::builder()
        .nodes(3)
        .link(rate)
        .rtt_ms(100)
        .build()
        .unwrap();
    let nginx = lab.start_nginx(&[10_000, 500_000]).unwrap();
    let mut first_bytes_us = Vec::new();
    for _ in 0..10 {
        let spec = CurlSpec {
            expect_octets: Some(10_000),
            ..CurlSpec::new(nginx.url(10_000), Via::Direct)
        };
        let outcome = lab.curl(&spec).unwrap();
        assert!(outcome.is_success(), "{outcome:?}");
        assert!(outcome.connect_us >= 100_000, "{outcome:?}");
        assert!(outcome.first_byte_us >= 200_000, "{outcome:?}");
        first_bytes_us.push(outcome.first_byte_us);
    }
    first_bytes_us.sort_unstable();
    println!("TTFB: {first_bytes_us:?}");
    println!(
        "priority: {:?}; {:?}",
        lab.emulator_priority(),
        lab.total_stats()
    );
    assert!(first_bytes_us[5] < 210_000, "{first_bytes_us:?}");
}
