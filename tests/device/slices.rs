//! Numbers of the application's on the device: networks read and write them there, and say what is wrong with them.
//!
//! The contract: what comes of them is to the last bit what comes of the same numbers of the host; no mistake panics,
//! reaches the application's own error handler, or stands in the way of the next call.

use recurrent::device::DeviceSlice;
use recurrent::{
    Batch, BatchShape, Clip, Config, Device, EmbeddingUpdate, HeadTargets, InputKind, Inputs, Loss, Model, Optimizer,
    OutputGradients, Pool, Predictor, Recipe, Recurrent, Sequences, Start, StreamingPredictor, Targets, Trainer, wgpu,
};

use crate::Own;
use crate::common::whole::{self, assert_same, bytes, rng, said};

const ALL: wgpu::BufferUsages = wgpu::BufferUsages::COPY_SRC.union(wgpu::BufferUsages::COPY_DST);

impl Own {
    fn buffer(&self, len: usize, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let size = len as u64 * 4;
        self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    }

    /// Numbers behind three others, as a simulation has left them.
    fn numbers(&self, values: &[f32]) -> DeviceSlice {
        let buffer = self.buffer(3 + values.len(), ALL);
        self.queue.write_buffer(&buffer, 12, bytemuck::cast_slice(values));
        DeviceSlice::new(&buffer).slice(3..3 + values.len()).unwrap()
    }

    /// Room for as many, in a buffer of which all is NaN.
    fn room(&self, len: usize) -> (wgpu::Buffer, DeviceSlice) {
        let buffer = self.buffer(2 + len + 1, ALL);
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&vec![f32::NAN; 2 + len + 1]));
        let slice = DeviceSlice::new(&buffer).slice(2..2 + len).unwrap();
        (buffer, slice)
    }

    /// What a room holds, with nothing beside it touched.
    fn read(&self, (buffer, slice): &(wgpu::Buffer, DeviceSlice)) -> Vec<f32> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.buffer(buffer.size() as usize / 4, usage);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
        self.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let all: Vec<f32> = bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap());
        assert!(all[..2].iter().chain(&all[2 + slice.len()..]).all(|v| v.is_nan()), "written beside it: {all:?}");
        all[2..2 + slice.len()].to_vec()
    }
}

fn shape(steps: usize, batch_size: usize) -> BatchShape {
    BatchShape { steps, batch_size }
}

/// The same sequences, whose inputs lie on the device.
fn lent(own: &Own, sequences: &Sequences) -> Sequences {
    let Inputs::Dense(x) = &sequences.inputs else { panic!("numbers") };
    let mut lent = sequences.clone().with_inputs(Inputs::OnDevice(own.numbers(x)));
    for column in &mut lent.columns {
        let Inputs::Dense(x) = &column.inputs else { continue };
        column.inputs = Inputs::OnDevice(own.numbers(x));
    }
    lent
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_predictor_reads_and_writes_them() {
    let own = Own::open();
    let device = own.as_device();
    let dense = Config::lstm(InputKind::Dense(3), 6, 2).with_layers(2);
    let columns = Config::new(InputKind::Dense(3)).dense_column("shape", 2).layer(Recurrent::gru(5));
    let columns = columns.head("value", 3).outputs(2);
    for config in [dense.clone(), dense.pool(Pool::Last), columns] {
        let model = Model::new(config.clone()).unwrap();
        let mut predictor = Predictor::new(&device, &model).unwrap();
        // In one run, and in chunks.
        for (steps, size) in [(5, 3), (300, 2)] {
            let batch = whole::batch(&mut rng(81), &config, Loss::CrossEntropy, steps, size);
            let expected = predictor.run(&batch.sequences).unwrap().outputs;
            let room = own.room(expected.len());
            predictor.run_into(&lent(&own, &batch.sequences), &room.1).unwrap();
            assert_same(&format!("{config:?}, T {steps}"), &own.read(&room), &expected);
            assert_same("to the host", &predictor.run(&lent(&own, &batch.sequences)).unwrap().outputs, &expected);
            // What the host writes afterwards is the host's.
            assert_same("again", &predictor.run(&batch.sequences).unwrap().outputs, &expected);
        }
    }
    assert_eq!(own.errors(), [""; 0]);
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_stream_reads_and_writes_them() {
    let own = Own::open();
    let device = own.as_device();
    let config = Config::gru(InputKind::Dense(2), 7, 3);
    let model = Model::new(config.clone()).unwrap();
    let [mut expected, mut stream] = [0, 1].map(|_| StreamingPredictor::new(&device, &model, 4).unwrap());
    let room = own.room(4 * 3);
    let state = own.room(config.state_len(4));
    for step in 0..3 {
        let x = whole::reals(&mut rng(step), 4 * 2, 1.0);
        stream.sequence_into(1, &Inputs::OnDevice(own.numbers(&x)), &room.1).unwrap();
        assert_same("outputs", &own.read(&room), expected.step(&x).unwrap());
        stream.state_into(&state.1).unwrap();
        assert_same("state", &own.read(&state), expected.state().unwrap().values());
    }
    assert_eq!(own.errors(), [""; 0]);
}

fn sgd(loss: Loss) -> Recipe {
    Recipe::new(loss).with_optimizer(Optimizer::sgd(0.5), 0.1).with_clip(Clip::None)
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_training_reads_them() {
    let own = Own::open();
    let device = own.as_device();
    let config = Config::new(InputKind::Dense(3)).layer(Recurrent::lstm(6)).head("value", 1).outputs(2);
    let recipe = sgd(Loss::MeanSquared).with_head("value", Loss::MeanAbsolute, 0.5);
    let model = Model::new(config.clone()).unwrap();
    let [mut of_host, mut of_device] = [0, 1].map(|_| Trainer::new(&device, &model, recipe.clone()).unwrap());
    for step in 0..4 {
        let values = whole::reals(&mut rng(90 + step), 5 * 3, 1.0);
        let mut batch = whole::batch(&mut rng(82 + step), &config, Loss::MeanSquared, 5, 3);
        batch.heads.clear();
        let Targets::Values(y) = &batch.targets else { panic!("values") };
        let batch = if step > 0 { batch.clone().with_start(Start::Carry) } else { batch.clone() };
        let head = |targets: Targets| HeadTargets::new("value", targets);
        let whole = batch.clone().with_head(head(Targets::Values(values.clone())));
        let lent = Batch::new(lent(&own, &batch.sequences), Targets::OnDevice(own.numbers(y)));
        let lent = lent.with_head(head(Targets::OnDevice(own.numbers(&values))));
        let fresh = |batch: &Batch| batch.clone().with_start(Start::Initial);
        assert_eq!(of_host.evaluate([fresh(&whole)]).unwrap(), of_device.evaluate([fresh(&lent)]).unwrap());
        if step == 1 {
            // A step that is timed, too.
            of_host.profile(&whole).unwrap();
            of_device.profile(&lent).unwrap();
        } else if step == 2 {
            of_host.step_accumulated(&[whole.clone(), whole.clone()]).unwrap();
            of_device.step_accumulated(&[lent.clone(), lent]).unwrap();
        } else {
            of_host.step(&whole).unwrap();
            of_device.step(&lent).unwrap();
        }
    }
    assert!(bytes(&mut of_host) == bytes(&mut of_device), "other weights");
    let gradients = of_host.gradients().unwrap();
    let room = own.room(gradients.layout().buffer_len());
    of_device.gradients_into(&room.1).unwrap();
    let found = own.read(&room);
    for parameter in gradients.layout().parameters() {
        assert_same(&parameter.name, &found[parameter.range()], gradients.get(&parameter.name).unwrap());
    }
    assert_eq!(own.errors(), [""; 0]);
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_loss_of_the_application_s_stays_on_the_device() {
    let own = Own::open();
    let device = own.as_device();
    let config = Config::gru(InputKind::Dense(2), 5, 3);
    let model = Model::new(config.clone()).unwrap();
    let [mut of_host, mut of_device] = [0, 1].map(|_| Trainer::new(&device, &model, sgd(Loss::External)).unwrap());
    let batch = whole::batch(&mut rng(83), &config, Loss::CrossEntropy, 4, 2).with_targets(Targets::None);
    let room = own.room(4 * 2 * 3);
    for step in 0..3 {
        let made = of_host.forward(&batch).unwrap();
        let gradient: Vec<f32> = made.outputs.iter().map(|y| 2.0 * y).collect();
        of_device.forward_into(&batch, &room.1).unwrap();
        assert_same("outputs", &own.read(&room), &made.outputs);
        // Its own shader would make one of the other.
        let on_device = OutputGradients::on_device(0.25, own.numbers(&gradient));
        if step == 1 {
            of_host.accumulate((0.25, gradient.clone())).unwrap();
            of_device.accumulate(on_device).unwrap();
            continue;
        }
        of_host.backward((0.25, gradient)).unwrap();
        of_device.backward(on_device).unwrap();
    }
    assert!(bytes(&mut of_host) == bytes(&mut of_device), "other weights");
    assert_eq!(of_device.metrics().unwrap()[1].loss, 0.5);
    assert_eq!(own.errors(), [""; 0]);
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn mistakes_are_said_and_change_nothing() {
    let own = Own::open();
    let device = own.as_device();
    let config = Config::gru(InputKind::Dense(2), 5, 3);
    let model = Model::new(config.clone()).unwrap();
    let mut trainer = Trainer::new(&device, &model, sgd(Loss::MeanSquared)).unwrap();
    let targets = Targets::Values(vec![0.5; 2 * 2 * 3]);
    let batch = |x: DeviceSlice| Batch::new(Sequences::new(shape(2, 2), Inputs::OnDevice(x)), targets.clone());
    let x = || own.numbers(&[0.1; 8]);
    let before = bytes(&mut trainer);
    let words = |result: recurrent::Result<()>| said(&result.unwrap_err());

    assert_eq!(words(trainer.step(&batch(own.numbers(&[0.1; 7])))), "inputs has shape [7], expected [2, 2, 2]");
    let unreadable = DeviceSlice::new(&own.buffer(8, wgpu::BufferUsages::COPY_DST));
    assert_eq!(
        words(trainer.step(&batch(unreadable))),
        "inputs is a buffer of the usages BufferUsages(COPY_DST), expected BufferUsages(COPY_SRC) among them"
    );
    let wrong = batch(x()).with_targets(Targets::OnDevice(own.numbers(&[0.0; 5])));
    assert_eq!(words(trainer.step(&wrong)), "targets has shape [5], expected [4, 3]");
    assert_eq!(
        said(&own.numbers(&[0.0; 5]).slice(2..6).unwrap_err()),
        "numbers 2 to 6 of a buffer are asked for, but it has 5"
    );
    // Of a loss against classes, and of a network that reads tokens.
    let mut classes = Trainer::new(&device, &model, Recipe::new(Loss::CrossEntropy)).unwrap();
    let wrong = batch(x()).with_targets(Targets::OnDevice(own.numbers(&[0.0; 12])));
    assert!(
        words(classes.step(&wrong)).contains("needs classes as targets, but the batch has real numbers on the device")
    );
    let tokens =
        Model::new(Config::new(InputKind::Tokens(9)).embedding(3).layer(Recurrent::gru(4)).outputs(2)).unwrap();
    let mut of_tokens = Predictor::new(&device, &tokens).unwrap();
    let room = own.room(2 * 2 * 2);
    let sequences = Sequences::new(shape(2, 2), Inputs::OnDevice(x()));
    assert!(words(of_tokens.run_into(&sequences, &room.1)).contains("reads tokens, but the inputs are dense"));
    let mut predictor = Predictor::new(&device, &model).unwrap();
    assert_eq!(words(predictor.run_into(&sequences, &room.1)), "outputs has shape [8], expected [12]");
    let unwritable = DeviceSlice::new(&own.buffer(12, wgpu::BufferUsages::COPY_SRC));
    assert!(words(predictor.run_into(&sequences, &unwritable)).contains("expected BufferUsages(COPY_DST) among them"));
    assert!(words(trainer.gradients_into(&unwritable)).contains("there was no step yet"));
    let lazy = Recipe::new(Loss::CrossEntropy).with_embedding_update(EmbeddingUpdate::Lazy);
    let mut lazy = Trainer::new(&device, &tokens, lazy).unwrap();
    lazy.step(&Batch::tokens(shape(2, 1), vec![1, 2], vec![0, 1])).unwrap();
    assert!(words(lazy.gradients_into(&room.1)).contains("expected EmbeddingUpdate::Exact"));

    // What wgpu has to say: of another device, destroyed, mapped.
    let other = Own::open();
    assert!(words(trainer.step(&batch(other.numbers(&[0.1; 8])))).contains("device"), "another device");
    let gone = own.buffer(8, ALL);
    gone.destroy();
    assert!(words(trainer.step(&batch(DeviceSlice::new(&gone)))).contains("destroyed"));
    let mapped = own.buffer(8, wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC);
    mapped.map_async(wgpu::MapMode::Write, .., |mapped| mapped.unwrap());
    own.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    assert!(words(trainer.step(&batch(DeviceSlice::new(&mapped)))).contains("mapped"));
    assert!(bytes(&mut trainer) == before, "a mistake changed something");
    // What cannot be written is said before anything runs.
    let mut stream = StreamingPredictor::new(&device, &model, 2).unwrap();
    stream.step(&[0.1; 4]).unwrap();
    let state = stream.state().unwrap();
    let gone = own.buffer(6, ALL);
    gone.destroy();
    let inputs = Inputs::Dense(vec![0.1; 4]);
    assert!(words(stream.sequence_into(1, &inputs, &DeviceSlice::new(&gone))).contains("destroyed"));
    assert_eq!(stream.state().unwrap(), state);
    let mut own_loss = Trainer::new(&Device::cpu(), &model, sgd(Loss::External)).unwrap();
    let before = bytes(&mut own_loss);
    let window = Batch::new(Sequences::dense(shape(2, 2), vec![0.1; 8]), Targets::None);
    let room = own.room(12);
    assert!(words(own_loss.forward_into(&window, &room.1)).contains("the network runs on the CPU"));
    assert!(bytes(&mut own_loss) == before, "a mistake moved the state");

    // On the CPU there is nothing to read them by.
    let mut cpu = Trainer::new(&Device::cpu(), &model, sgd(Loss::MeanSquared)).unwrap();
    assert_eq!(words(cpu.step(&batch(x()))), "numbers lie in a buffer on a GPU, but the network runs on the CPU");
    trainer.step(&batch(x())).unwrap();
    assert!(trainer.metrics().unwrap()[0].updated);
    assert_eq!(own.errors(), [""; 0]);
}
