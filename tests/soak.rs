//! Many explanations with one Explainer after the other: memory stays as it is. `RELPROP_SOAK=10000` makes as many.
#![cfg(target_os = "linux")]

mod support;

use std::sync::Mutex;

use relprop::{Backend, Composite, Explainer, Network, Target, Tensor};
use support::random::{Choice, Random, network};

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

fn input(network: &Network, samples: usize, seed: u64) -> Tensor {
    let shape: Vec<usize> = network.value(network.inputs()[0]).shape.iter().map(|d| d.at(samples)).collect();
    Random::new(seed).tensor(&shape, 1.0)
}

fn small() -> Network {
    network(&mut Random::new(3), Choice { bias: true, lossy: true, signed: true })
}

fn explainer(network: &Network, batch: usize, backend: Backend) -> Explainer {
    let composite = Composite::parse("epsilon-plus").expect("a preset");
    Explainer::builder(network, composite).backend(backend).batch(batch).build().expect("an explainer")
}

/// Runs with 1 to 9 samples in batches of 1 to 4, and now and then a new Explainer.
fn soak(backend: Backend) {
    let count: usize = std::env::var("RELPROP_SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(1600);
    let network = small();
    let inputs: Vec<Tensor> = (1..10).map(|n| input(&network, n, n as u64)).collect();
    let mut running = explainer(&network, 1, backend);
    let mut first = None;
    for i in 0..count {
        if i % 50 == 0 {
            running = explainer(&network, 1 + i / 50 % 4, backend);
        }
        let targets = if i % 3 == 0 { vec![Target::Best, Target::Index(1)] } else { vec![Target::Best] };
        running.explain(std::slice::from_ref(&inputs[i * 7 % 9]), &targets).expect("an explanation");
        // Pools and caches are full by then: on lavapipe they grow by 9 MB until some 500 explanations, and then no more.
        if i + 1 == count / 2 {
            first = Some(resident());
        }
    }
    let (first, last) = (first.expect("half of it"), resident());
    println!("{backend:?}: {} kB after {} explanations, {} kB after {count}", first >> 10, count / 2, last >> 10);
    // A quarter of a kilobyte an explanation, and what an allocator keeps: one map that is not freed is more.
    let allowed = (4 << 20) + count / 2 * 256;
    assert!(last < first + allowed, "{first} bytes, then {last}");
}

/// The process has one memory: only one test at a time may take some.
static MEMORY: Mutex<()> = Mutex::new(());

#[test]
fn memory_stays_as_it_is() {
    let _alone = MEMORY.lock();
    soak(Backend::Cpu);
    soak(Backend::Gpu);
}

#[test]
fn two_threads_get_what_one_gets() {
    let _alone = MEMORY.lock();
    for backend in [Backend::Cpu, Backend::Gpu] {
        let network = small();
        let explain = |seed: u64| {
            let mut explainer = explainer(&network, 2, backend);
            let maps = (0..10).map(|i| {
                let explanation = explainer.explain(&[input(&network, 3, seed + i)], &[Target::Best]).expect("a map");
                explanation.targets[0].relevance[0].clone()
            });
            maps.collect::<Vec<Tensor>>()
        };
        let alone = [explain(100), explain(200)];
        let together = std::thread::scope(|scope| {
            let threads = [100, 200].map(|seed| {
                scope.spawn({
                    let explain = &explain;
                    move || explain(seed)
                })
            });
            threads.map(|thread| thread.join().expect("a thread"))
        });
        assert!(alone == together, "{backend:?}");
    }
}
