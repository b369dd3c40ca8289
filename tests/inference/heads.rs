//! What heads say, and the rows of any layer: over whole sequences and step by step.
//!
//! A head is held against its own weights times the rows of the layer that it reads, and a stream against a predictor.

use recurrent::{
    Activation, Cell, Config, Device, InputKind, Inputs, Loss, Model, Pool, Predictor, Recurrent, Sequences,
    StreamingPredictor,
};

use crate::common::whole::{self, assert_close, rng};

/// The same sums in f32 by kernels for other numbers of rows.
const OTHER_ROWS: f32 = 1e-5;
/// Two chunks of 128 steps and three steps.
const LENGTHS: [usize; 4] = [259, 1, 128, 130];

fn trunk() -> Config {
    Config::new(InputKind::Tokens(6)).embedding(4).head("low", 2).layer(Recurrent::gru(9)).layer(Recurrent::lstm(7))
}

fn configs() -> Vec<Config> {
    vec![
        trunk().head("tag", 5).dense(6, Activation::Gelu).outputs(3),
        trunk().head("tag", 5).pool(Pool::Last).head("kind", 2).dense(6, Activation::Tanh).head("top", 1).outputs(3),
        trunk().pool(Pool::Max).head("kind", 2).outputs(3),
        trunk().layer(Recurrent::gru(4).bidirectional()).head("tag", 5).pool(Pool::Mean).head("kind", 2).outputs(3),
    ]
}

fn sequences(config: &Config) -> Sequences {
    let batch = whole::batch(&mut rng(6), config, Loss::MeanSquared, LENGTHS[0], LENGTHS.len());
    batch.sequences.with_lengths(LENGTHS.to_vec())
}

/// W·row + b of every row, or zeros where that is all that the row has.
fn linear(model: &Model, prefix: &str, rows: &[f32]) -> Vec<f32> {
    let [weight, bias] = ["weight", "bias"].map(|name| model.parameter(&format!("{prefix}{name}")).unwrap());
    let width = weight.len() / bias.len();
    let of_row = |row: &[f32]| -> Vec<f32> {
        let padding = row.iter().all(|x| *x == 0.0);
        let sum = |w: &[f32]| w.iter().zip(row).map(|(w, x)| w * x).sum::<f32>();
        weight.chunks(width).zip(bias).map(|(w, b)| if padding { 0.0 } else { sum(w) + b }).collect()
    };
    rows.chunks(width).flat_map(of_row).collect()
}

whole::on_both!(
    a_head_is_a_read_out_of_its_layer,
    rows_are_those_of_the_layer,
    a_stream_says_what_a_predictor_says,
    a_layer_that_is_not_there_is_refused,
);

fn a_head_is_a_read_out_of_its_layer(device: &Device) {
    for config in configs() {
        let model = Model::new(config.clone()).unwrap();
        let mut predictor = Predictor::new(device, &model).unwrap();
        let sequences = sequences(&config);
        let answer = predictor.run(&sequences).unwrap();
        let names: Vec<&str> = answer.heads.iter().map(|head| head.name.as_str()).collect();
        assert_eq!(names, config.heads.iter().map(|head| head.name.as_str()).collect::<Vec<_>>());
        for head in &config.heads {
            let rows = predictor.hidden(&sequences, head.reads - 1).unwrap();
            let want = linear(&model, &format!("head.{}.", head.name), &rows);
            assert_close(&head.name, answer.head(&head.name).unwrap(), &want, OTHER_ROWS);
        }
        let rows = predictor.hidden(&sequences, config.layers.len() - 1).unwrap();
        assert_close("outputs", &answer.outputs, &linear(&model, "head.0.", &rows), OTHER_ROWS);
        assert!(answer.head("none").is_none());
    }
}

fn rows_are_those_of_the_layer(device: &Device) {
    // Of a network without heads, whose states are known.
    let config = Config::of_cell(Cell::Lstm, InputKind::Dense(3), 5, 2).with_layers(2);
    let model = Model::new(config.clone()).unwrap();
    let mut predictor = Predictor::new(device, &model).unwrap();
    let sequences = sequences(&config);
    let state = predictor.run(&sequences).unwrap().state;
    for layer in 0..2 {
        let rows = predictor.hidden(&sequences, layer).unwrap();
        assert_eq!(rows.len(), LENGTHS[0] * LENGTHS.len() * 5);
        for (b, length) in LENGTHS.into_iter().enumerate() {
            let at = |t: usize| &rows[(t * LENGTHS.len() + b) * 5..][..5];
            assert_close("the last state", at(length - 1), &state.h(layer).unwrap()[b * 5..][..5], OTHER_ROWS);
            assert!((length..LENGTHS[0]).all(|t| at(t).iter().all(|h| *h == 0.0)));
        }
    }
    // It goes on from a state that is given, and leaves the answer to the same sequences as it was.
    let before = predictor.hidden(&sequences, 0).unwrap();
    let given = sequences.clone().with_start(recurrent::Start::Given(state));
    assert_ne!(predictor.hidden(&given, 0).unwrap(), before);
    assert_eq!(predictor.hidden(&sequences, 0).unwrap(), before);
    let carried = sequences.clone().with_start(recurrent::Start::Carry);
    assert!(predictor.hidden(&carried, 0).is_err());
}

fn a_stream_says_what_a_predictor_says(device: &Device) {
    for config in configs().into_iter().take(2) {
        let model = Model::new(config.clone()).unwrap();
        let inputs = whole::ids(&mut rng(2), 140 * 2, 6);
        let shape = recurrent::BatchShape { steps: 140, batch_size: 2 };
        let want = Predictor::new(device, &model).unwrap().run(&Sequences::tokens(shape, inputs.clone())).unwrap();
        let mut stream = StreamingPredictor::new(device, &model, 2).unwrap();
        assert_eq!((stream.head("tag"), stream.head("none")), (Some(&[][..]), None));
        let steps = |head: &str, stream: &StreamingPredictor| stream.head(head).unwrap().to_vec();
        let (mut low, mut tag) = (Vec::new(), Vec::new());
        for (first, steps_read) in [(0, 1), (1, 1), (2, 130), (132, 8)] {
            let ids = inputs[first * 2..(first + steps_read) * 2].to_vec();
            stream.sequence(steps_read, &Inputs::Tokens(ids)).unwrap();
            low.extend(steps("low", &stream));
            tag.extend(steps("tag", &stream));
        }
        assert_close("low", &low, want.head("low").unwrap(), OTHER_ROWS);
        assert_close("tag", &tag, want.head("tag").unwrap(), OTHER_ROWS);
        for above in ["kind", "top"].into_iter().filter(|name| config.heads.iter().any(|head| head.name == *name)) {
            assert_close(above, stream.head(above).unwrap(), want.head(above).unwrap(), OTHER_ROWS);
        }
    }
    let mean = trunk().pool(Pool::Mean).head("kind", 2).outputs(3);
    let error = StreamingPredictor::new(device, &Model::new(mean).unwrap(), 1).unwrap_err().to_string();
    assert!(error.contains("layer 3 (pool)") && error.contains("head `kind`"), "{error}");
    let below = trunk().head("tag", 2).pool(Pool::Mean).outputs(3);
    let mut stream = StreamingPredictor::new(device, &Model::new(below).unwrap(), 1).unwrap();
    stream.step_tokens(&[1]).unwrap();
    assert_eq!(stream.head("tag").unwrap().len(), 2);
}

fn a_layer_that_is_not_there_is_refused(device: &Device) {
    let config = configs().remove(0);
    let mut predictor = Predictor::new(device, &Model::new(config.clone()).unwrap()).unwrap();
    let error = predictor.hidden(&sequences(&config), 4).unwrap_err().to_string();
    assert!(error.contains("layer 4") && error.contains("0 to 3"), "{error}");
    predictor.run(&sequences(&config)).unwrap();
}
