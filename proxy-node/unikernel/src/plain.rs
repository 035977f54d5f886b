//! A machine monitor with virtio devices: QEMU's microvm, Firecracker.

use core::time::Duration;

use synhop_stack::{Checksum, Frame, Instant, Offload, Payload, Pool};

use crate::boot::Boot;
use crate::clock::{self, Clock, Scale};
use crate::console;
use crate::cpu::{self, apic::Apic};
use crate::platform::Platform;
use crate::virtio::{Net, NetError, Place};

/// The serial port's interrupt line.
const SERIAL_LINE: u32 = 4;

/// Sleeps at most this long: the timer counts 32 bits of nanoseconds.
const SLEEP_MOST: Duration = Duration::from_secs(4);

/// Sleeps at most this long if the device's interrupt line is not known.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// Octet from the serial port that asks for an end: Control-C.
const STOP: u8 = 3;
/// Octet from the serial port that asks how things are.
const STATUS: u8 = b's';

/// The machine.
#[derive(Debug)]
pub(crate) struct Plain {
    net: Net,
    clock: Clock,
    apic: Apic,
    /// When the timer interrupts.
    timer: Instant,
    /// The last octet from the serial port that was not acted on.
    key: Option<u8>,
}

impl Plain {
    /// Takes the machine over.
    pub(crate) fn attach(boot: &Boot) -> Result<Self, NetError> {
        // SAFETY: a plain machine came by the PVH entry, and this is called once.
        let apic = unsafe { Apic::take() };
        let given = boot.command_line.values("tsc-khz").last();
        let given = given.and_then(|khz| khz.parse().ok());
        let (hertz, source) = clock::frequency(given, &apic);
        let scale = Scale::from_hertz(hertz).unwrap_or(GUESS);
        let clock = Clock::new(scale, boot.entered);
        console::line!(
            "synhop: time-stamp counter {} MHz ({source:?}), {} us after the entry",
            hertz / 1_000_000,
            clock.now().as_micros()
        );

        let random = cpu::time_stamp().to_le_bytes();
        // Locally administered, of one machine.
        let fallback = [0x02, random[0], random[1], random[2], random[3], random[4]];
        let places = Place::all(&boot.command_line);
        // SAFETY: the last GiB below 4 GiB is mapped, and this is the only driver.
        let net = unsafe { Net::start(places, fallback) }?;
        if let Some(line) = net.line() {
            apic.enable_line(line);
        }
        apic.enable_line(SERIAL_LINE);
        console::enable_serial_interrupt();
        Ok(Self {
            net,
            clock,
            apic,
            timer: Instant::default(),
            key: None,
        })
    }

    /// Has the timer interrupt in `ticks` at the latest. One that is set for an earlier time stays:
    /// each setting is an exit to the monitor, and most deadlines are put off.
    fn set_timer(&mut self, now: Instant, ticks: u32) {
        let wanted = now + Duration::from_nanos(ticks.into());
        if self.timer <= now || self.timer > wanted {
            self.apic.start_timer(ticks);
            self.timer = wanted;
        }
    }
}

/// A counter of 1 GHz, if the measured frequency is nonsense.
const GUESS: Scale = Scale {
    tsc_base: 0,
    nanos_base: 0,
    mul: 1 << 31,
    shift: 1,
};

impl Platform for Plain {
    fn mac(&self) -> [u8; 6] {
        self.net.mac()
    }

    fn offload(&self) -> Offload {
        self.net.offload()
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn receive(&mut self, pool: &Pool) -> Option<(Payload, Checksum)> {
        self.net.receive(pool)
    }

    fn send(&mut self, frame: Frame) -> Result<(), Frame> {
        self.net.send(frame)
    }

    fn flush(&mut self) {
        self.net.flush();
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        let longest = if self.net.line().is_some() {
            SLEEP_MOST
        } else {
            LOOK_EVERY
        };
        if self.net.prepare_sleep() {
            let now = self.now();
            let until = deadline.map_or(longest, |at| at.since(now)).min(longest);
            let ticks = u32::try_from(until.as_nanos()).unwrap_or(u32::MAX);
            if ticks > 0 {
                self.set_timer(now, ticks);
                cpu::sleep();
            }
        }
        self.net.awake();
    }

    fn stop_asked(&mut self) -> bool {
        self.key = console::read().or(self.key);
        self.key.take_if(|key| *key == STOP).is_some()
    }

    fn dropped(&self) -> u64 {
        self.net.dropped()
    }

    fn status_asked(&mut self) -> bool {
        self.key.take_if(|key| *key == STATUS).is_some()
    }
}
