//! Devices: the application's own, one that is lost, which one is taken, and waiting without keeping the thread; memory
//! on a GPU, and threads of the CPU.
//!
//! Nothing that goes wrong on a device may panic or reach the application's own error handler. What hangs on a process
//! (its environment, its number of threads) is tested in a child, so that all of these tests share one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

#[path = "../common/mod.rs"]
mod common;

mod memory;
mod slices;
mod threads;

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use common::whole::{self, assert_same, bytes, rng};
use recurrent::gpu::{Gpu, adapters};
use recurrent::{
    Batch, BatchShape, Checkpoint, Config, Device, Error, InputKind, Loss, Model, Predictor, Recipe, Start,
    StreamingPredictor, Trainer, wgpu,
};

const NAME: &str = "WGPU_ADAPTER_NAME";

fn model() -> Model {
    Model::new(Config::elman(InputKind::Tokens(5), 16, 5).with_seed(1)).unwrap()
}

fn recipe() -> Recipe {
    Recipe::new(Loss::CrossEntropy)
}

fn batch() -> Batch {
    whole::batch(&mut rng(1), model().config(), Loss::CrossEntropy, 5, 3)
}

/// A device of the application's own, and what its error handler was called with.
struct Own {
    device: wgpu::Device,
    queue: wgpu::Queue,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Own {
    fn open() -> Self {
        let (device, queue) = whole::open(|_| ());
        let errors: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&errors);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| seen.lock().unwrap().push(error.to_string())));
        Own { device, queue, errors }
    }

    fn as_device(&self) -> Device {
        Device::from_gpu(Gpu::from_wgpu(self.device.clone(), self.queue.clone()).unwrap())
    }

    fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().clone()
    }

    /// What the application itself does wrong.
    fn mistake(&self) {
        let _ = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn an_application_lends_its_own_device() {
    let own = Own::open();
    let run = |device: &Device| {
        let mut trainer = Trainer::new(device, &model(), recipe()).unwrap();
        (0..3).for_each(|_| trainer.step(&batch()).unwrap());
        let outputs = StreamingPredictor::new(device, &trainer.model().unwrap(), 3)
            .unwrap()
            .step_tokens(&[0, 1, 2])
            .unwrap()
            .to_vec();
        (bytes(&mut trainer), outputs)
    };
    // A scope that the application has open must catch nothing of ours, and an error that it makes must find its
    // handler.
    let scope = own.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let (got, want) = (run(&own.as_device()), run(&whole::gpu()));
    assert!(pollster::block_on(scope.pop()).is_none());
    assert!(got.0 == want.0, "the same adapter trains differently");
    assert_same("a stream's outputs", &got.1, &want.1);
    assert_eq!(own.errors(), [""; 0]);
    own.mistake();
    assert_eq!(own.errors().len(), 1, "the handler that must stay silent can speak");
    // Work beside ours goes on, and so does ours.
    assert!(run(&own.as_device()).0 == want.0);
    assert_eq!(own.errors().len(), 1);
}

/// Whether the call came back, and how: a call that hangs fails, too.
#[track_caller]
fn refused<T: 'static>(what: &str, call: impl FnOnce() -> recurrent::Result<T> + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(call().err()));
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(Some(Error::DeviceLost(_))) => {}
        Ok(Some(error)) => panic!("{what} on a lost device: {error:?}"),
        Ok(None) => panic!("{what} on a lost device went well"),
        Err(_) => panic!("{what} on a lost device panicked or hung"),
    }
}

/// Each call on a device that was lost in the middle of a training, from the first on, whether it waits or not.
///
/// wgpu tells of a loss by a callback, which is the application's. So the device is asked.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_lost_device_is_an_error_at_every_call() {
    type Call<T> = (&'static str, fn(&mut T) -> recurrent::Result<()>);
    let train: [Call<Trainer>; 15] = [
        ("step", |trainer| trainer.step(&batch())),
        ("a first step of another size", |trainer| {
            trainer.step(&whole::batch(&mut rng(1), model().config(), Loss::CrossEntropy, 2, 1))
        }),
        ("a carried step", |trainer| trainer.step(&batch().with_start(Start::Carry))),
        ("a given step", |trainer| trainer.step(&batch().with_start(Start::Given(model().initial_state(3).unwrap())))),
        ("several windows", |trainer| trainer.step_accumulated(&[batch(), batch()])),
        ("profile", |trainer| trainer.profile(&batch()).map(drop)),
        ("metrics", |trainer| trainer.metrics().map(drop)),
        ("metrics_async", |trainer| pollster::block_on(trainer.metrics_async()).map(drop)),
        ("evaluate", |trainer| trainer.evaluate([batch()]).map(drop)),
        ("model", |trainer| trainer.model().map(drop)),
        ("model_async", |trainer| pollster::block_on(trainer.model_async()).map(drop)),
        ("state", |trainer| trainer.state().map(drop)),
        ("checkpoint", |trainer| trainer.checkpoint().map(drop)),
        ("prepare", |trainer| trainer.prepare(BatchShape { steps: 3, batch_size: 3 })),
        ("freeze", |trainer| trainer.freeze(&["bias"])),
    ];
    for (what, call) in train {
        let own = Own::open();
        let mut trainer = Trainer::new(&own.as_device(), &model(), recipe()).unwrap();
        trainer.step(&batch()).unwrap();
        own.device.destroy();
        refused(what, move || {
            let lost = call(&mut trainer);
            // And again, and so does every other.
            for _ in 0..3 {
                assert!(matches!(call(&mut trainer), Err(Error::DeviceLost(_))));
            }
            assert!(matches!(trainer.step(&batch()), Err(Error::DeviceLost(_))));
            lost
        });
        assert_eq!(own.errors(), [""; 0], "{what} reached the application's handler");
    }
    let read: [Call<StreamingPredictor>; 6] = [
        ("step_tokens", |stream| stream.step_tokens(&[1; 3]).map(drop)),
        ("step_tokens_async", |stream| pollster::block_on(stream.step_tokens_async(&[1; 3])).map(drop)),
        ("sequence", |stream| stream.sequence(2, &recurrent::Inputs::Tokens(vec![1; 6])).map(drop)),
        ("reset", |stream| stream.reset()),
        ("set_state", |stream| stream.set_state(&model().initial_state(3).unwrap())),
        ("state of a stream", |stream| stream.state().map(drop)),
    ];
    for (what, call) in read {
        let own = Own::open();
        let mut stream = StreamingPredictor::new(&own.as_device(), &model(), 3).unwrap();
        stream.step_tokens(&[0; 3]).unwrap();
        own.device.destroy();
        refused(what, move || call(&mut stream));
        assert_eq!(own.errors(), [""; 0], "{what} reached the application's handler");
    }
    let own = Own::open();
    let device = own.as_device();
    let checkpoint = {
        let mut trainer = Trainer::new(&device, &model(), recipe()).unwrap();
        trainer.step(&batch()).unwrap();
        trainer.checkpoint().unwrap()
    };
    own.device.destroy();
    let lost = device.clone();
    refused("a new trainer", move || Trainer::new(&lost, &model(), recipe()));
    let lost = device.clone();
    refused("a new stream", move || StreamingPredictor::new(&lost, &model(), 3));
    let lost = device.clone();
    refused("a new predictor", move || Predictor::new(&lost, &model()));
    let lost = device.clone();
    let kept: Checkpoint = checkpoint.clone();
    refused("a resumed trainer", move || Trainer::resume(&lost, &kept));
    assert_eq!(own.errors(), [""; 0]);
    // What was saved goes on elsewhere.
    assert!(Trainer::resume(&Device::cpu(), &checkpoint).unwrap().step(&batch()).is_ok());
}

/// What a device has to allow is said where it is lent, by its name; with no more than that, and with buffers of any
/// size, it is taken.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_device_of_too_small_limits_is_refused_where_it_is_lent() {
    type Change = fn(&mut wgpu::Limits);
    let lent = |change: Change| {
        let (device, queue) = whole::open(change);
        Gpu::from_wgpu(device, queue)
    };
    let small: [(&str, Change); 6] = [
        ("max_storage_buffers_per_shader_stage", |limits| limits.max_storage_buffers_per_shader_stage = 4),
        ("max_compute_invocations_per_workgroup", |limits| limits.max_compute_invocations_per_workgroup = 128),
        ("max_compute_workgroup_storage_size", |limits| limits.max_compute_workgroup_storage_size = 8192),
        ("max_compute_workgroup_size_x", |limits| limits.max_compute_workgroup_size_x = 64),
        ("max_compute_workgroups_per_dimension", |limits| limits.max_compute_workgroups_per_dimension = 1024),
        ("max_dynamic_uniform_buffers_per_pipeline_layout", |limits| {
            limits.max_dynamic_uniform_buffers_per_pipeline_layout = 0;
        }),
    ];
    for (name, change) in small {
        match lent(change) {
            Err(Error::Limit { limit, asked, allowed, .. }) => assert!(limit == name && asked > allowed, "{limit}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let enough = lent(|limits| {
        limits.max_texture_dimension_2d = 0;
        limits.max_color_attachments = 0;
        limits.max_storage_buffer_binding_size = 1 << 20;
        limits.max_buffer_size = 1 << 20;
    });
    let mut trainer = Trainer::new(&Device::from_gpu(enough.unwrap()), &model(), recipe()).unwrap();
    trainer.step(&batch()).unwrap();
    assert_eq!(trainer.metrics().unwrap().len(), 1);
}

/// Wakes a thread, and counts.
struct Unpark {
    thread: Thread,
    wakes: AtomicUsize,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Runs a future on this thread, asleep while it waits. Returns how often it gave the thread back and was woken.
fn drive<T>(future: impl Future<Output = T>) -> (T, usize, usize) {
    let unpark = Arc::new(Unpark { thread: thread::current(), wakes: AtomicUsize::new(0) });
    let waker = Waker::from(Arc::clone(&unpark));
    let (mut future, mut pending) = (pin!(future), 0);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return (result, pending, unpark.wakes.load(Ordering::SeqCst));
        }
        pending += 1;
        let patience = Instant::now() + Duration::from_secs(60);
        while unpark.wakes.load(Ordering::SeqCst) < pending {
            assert!(Instant::now() < patience, "nobody woke the task within a minute");
            thread::park_timeout(Duration::from_secs(1));
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn waiting_gives_the_thread_back() {
    let config = Config::elman(InputKind::Tokens(5), 64, 5);
    let mut trainer = Trainer::new(&whole::gpu(), &Model::new(config.clone()).unwrap(), recipe()).unwrap();
    let batch = whole::batch(&mut rng(3), &config, Loss::CrossEntropy, 10, 8);
    // Now and then a driver has done the work before the first poll: llvmpipe in 1 of 40 rounds.
    let mut gave = 0;
    for _ in 0..20 {
        let (stepped, ..) = drive(trainer.step_async(&batch));
        stepped.unwrap();
        let (metrics, pending, wakes) = drive(trainer.metrics_async());
        assert_eq!(metrics.unwrap().len(), 1);
        assert_eq!(pending, wakes, "a task is woken when it can go on, and only then");
        gave += pending;
    }
    assert!(gave >= 1, "the thread was kept every time");
}

fn the_async_forms_say_the_same(device: &Device) {
    let mut blocking = Trainer::new(device, &model(), recipe()).unwrap();
    (0..3).for_each(|_| blocking.step(&batch()).unwrap());
    pollster::block_on(async {
        let mut trainer = Trainer::new_async(device, &model(), recipe()).await.unwrap();
        trainer.prepare_async(BatchShape { steps: 5, batch_size: 3 }).await.unwrap();
        for _ in 0..3 {
            trainer.step_async(&batch()).await.unwrap();
        }
        assert_eq!(trainer.metrics_async().await.unwrap(), blocking.metrics().unwrap());
        assert_eq!(trainer.evaluate_async([batch()]).await.unwrap(), blocking.evaluate([batch()]).unwrap());
        assert_eq!(trainer.model_async().await.unwrap(), blocking.model().unwrap());
        assert_eq!(trainer.state_async().await.unwrap(), blocking.state().unwrap());
        let checkpoint = trainer.checkpoint_async().await.unwrap();
        assert!(checkpoint.to_bytes().unwrap() == bytes(&mut blocking));
        let mut resumed = Trainer::resume_async(device, &checkpoint).await.unwrap();
        assert!(bytes(&mut resumed) == bytes(&mut blocking));

        let mut stream = StreamingPredictor::new_async(device, &model(), 2).await.unwrap();
        let mut other = StreamingPredictor::new(device, &model(), 2).unwrap();
        let got = stream.step_tokens_async(&[1, 2]).await.unwrap();
        assert_same("a step", got, other.step_tokens(&[1, 2]).unwrap());
        let inputs = recurrent::Inputs::Tokens(vec![0, 1, 2, 3]);
        let got = stream.sequence_async(2, &inputs).await.unwrap();
        assert_same("a sequence", got, other.sequence(2, &inputs).unwrap());
        assert_same("the state", stream.state_async().await.unwrap().values(), other.state().unwrap().values());
    });
}

whole::on_both!(the_async_forms_say_the_same);

/// What an application may do with them: own them in another thread, and wait for them on any executor.
#[test]
fn trainers_streams_and_their_futures_can_be_sent_and_shared() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Send + Sync + 'static>() {}
    is_sync::<Device>();
    is_sync::<Gpu>();
    is_sync::<Error>();
    is_sync::<Model>();
    is_sync::<Trainer>();
    is_sync::<StreamingPredictor>();
    is_sync::<Predictor>();
    is_sync::<recurrent::EarlyStopping>();
    is_sync::<Checkpoint>();
    let mut trainer = Trainer::new(&Device::cpu(), &model(), recipe()).unwrap();
    let mut stream = StreamingPredictor::new(&Device::cpu(), &model(), 1).unwrap();
    is_send(&trainer.step_async(&batch()));
    is_send(&trainer.metrics_async());
    is_send(&trainer.evaluate_async(vec![batch()]));
    is_send(&trainer.checkpoint_async());
    is_send(&stream.step_tokens_async(&[0]));
    is_send(&Trainer::new_async(&Device::cpu(), &model(), recipe()));
    is_send(&trainer.step_accumulated_async(&[batch()]));
    is_send(&trainer.prepare_async(BatchShape { steps: 2, batch_size: 2 }));
    let trained = thread::spawn(move || trainer.step(&batch()).map(|()| trainer.steps_done()));
    assert_eq!(trained.join().unwrap().unwrap(), 1);
    assert_eq!(thread::spawn(move || stream.step_tokens(&[0]).map(<[f32]>::len)).join().unwrap().unwrap(), 5);
}

/// In a child process, as the choice hangs on the environment.
#[test]
fn the_best_device_is_hardware_or_the_cpu() {
    const TEST: &str = "the_best_device_is_hardware_or_the_cpu";
    let hardware = adapters().iter().any(|adapter| !adapter.is_software);
    match whole::child_task().as_deref() {
        None => {
            whole::run_child(TEST, "free", &[(NAME, None)]);
            whole::run_child(TEST, "free", &[(NAME, Some(""))]);
            whole::run_child(TEST, "unknown", &[(NAME, Some("no such card"))]);
        }
        Some("free") => {
            assert_eq!(Device::best().is_gpu(), hardware, "{} was taken", Device::best().name());
            assert_eq!(Device::parse("best").unwrap().name(), Device::best().name());
        }
        Some(_) => {
            assert!(!Device::best().is_gpu());
            let said = Device::gpu().unwrap_err().to_string();
            assert!(said.starts_with("no adapter for WGPU_ADAPTER_NAME `no such card`; "), "{said}");
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_software_adapter_is_the_best_only_where_it_is_named() {
    match whole::child_task() {
        None => {
            // Part of the name, in another case.
            let name = adapters()[0].name.to_uppercase();
            let part: String = name.chars().take(6).collect();
            let test = "a_software_adapter_is_the_best_only_where_it_is_named";
            whole::run_child(test, &part, &[(NAME, Some(&part))]);
        }
        Some(part) => {
            let best = Device::best();
            assert!(best.is_gpu() && best.name().to_uppercase().starts_with(&part), "{} was taken", best.name());
            assert_eq!(Device::gpu().unwrap().name(), best.name());
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_device_is_found_by_its_word() {
    for adapter in adapters() {
        let name = format!("{} ({})", adapter.name, adapter.backend);
        assert_eq!(Device::parse(&format!("gpu:{}", adapter.index)).unwrap().name(), name);
        let by_name = Device::parse(&format!("gpu:{}", adapter.name.to_uppercase())).unwrap();
        assert!(by_name.is_gpu() && by_name.name().starts_with(&adapter.name), "{}", by_name.name());
    }
    assert!(Device::parse("gpu").unwrap().is_gpu());
    let cpu = Device::parse("cpu").unwrap();
    assert!(!cpu.is_gpu() && cpu.name().starts_with("CPU ("), "{}", cpu.name());
}
