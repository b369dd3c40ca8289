//! Networks that cannot be: an error where they are made, which names the layer by its number and kind.

use recurrent::{
    Activation, Cell, Config, Device, Embedding, GateActivation, InputKind, Join, LayerNorm, Model, Pool, Recurrent,
    StreamingPredictor,
};

use crate::bad_input::words;

#[test]
fn lists_that_cannot_work() {
    let config = || Config::new(InputKind::Dense(3));
    let tagged = || Config::new(InputKind::Tokens(5)).outputs(5);
    for (config, expected) in [
        (config().outputs(2), "the number of recurrent layers (L) is 0, expected at least 1"),
        (config().pool(Pool::Mean).outputs(2), "the number of recurrent layers (L) is 0, expected at least 1"),
        (
            config().pool(Pool::Last).layer(Recurrent::gru(4)).outputs(2),
            "layer 1 (gru) reads steps, but layer 0 (pool) leaves one row for each sequence; \
             expected it below the pool",
        ),
        (
            config().layer(Recurrent::lstm(4)).pool(Pool::Last).pool(Pool::Mean).outputs(2),
            "layer 2 (pool) reads steps, but layer 1 (pool) leaves one row for each sequence; \
             expected it below the pool",
        ),
        (
            config().layer(Recurrent::lstm(4)).layer(Recurrent::gru(4).with_forget_bias(1.0)).outputs(2),
            "layer 1 (gru): a forget gate's bias is given, but a cell of kind gru has none",
        ),
        (
            config().layer(Recurrent::lstm(4).with_forget_bias(f64::NAN)).outputs(2),
            "layer 0 (lstm): the forget gate's bias is NaN, expected a finite number",
        ),
        (
            config().layer(Recurrent::lstm(4)).layer(Recurrent::gru(4).with_join(Join::Sum)).outputs(2),
            "layer 1 (gru): its directions are joined by Sum, but it reads sequences forwards; expected Join::Concat, \
             or both ways",
        ),
        (
            config().layer(Recurrent::gru(4).reversed().with_join(Join::Mean)).outputs(2),
            "layer 0 (gru): its directions are joined by Mean, but it reads sequences from their end; expected \
             Join::Concat, or both ways",
        ),
        (
            config().layer(Recurrent::elman(4).with_gate_activation(GateActivation::HardSigmoid)).outputs(2),
            "layer 0 (rnn): its gates are to be HardSigmoid of their sums, but a cell of kind elman has none; expected \
             GateActivation::Sigmoid",
        ),
        (
            config().layer(Recurrent::gru(4).with_cell_clip(3.0)).outputs(2),
            "layer 0 (gru): its c is to be cut off at 3, but a cell of kind gru has none",
        ),
        (
            config().layer(Recurrent::lstm(4).with_cell_clip(-1.0)).outputs(2),
            "layer 0 (lstm): its c is to be cut off at -1, expected a finite number above 0",
        ),
        (
            config().layer(Recurrent::cifg(4).with_cell_clip(f64::NAN)).outputs(2),
            "layer 0 (cifg): its c is to be cut off at NaN, expected a finite number above 0",
        ),
        (
            config().layer(Recurrent::gru(4).with_zoneout(0.1, 0.5)).outputs(2),
            "layer 0 (gru): its zoneout of c is 0.5, but a cell of kind gru has no c",
        ),
        (
            config().layer(Recurrent::lstm(4).with_zoneout(1.0, 0.5)).outputs(2),
            "layer 0 (lstm): its zoneout of h is 1, expected at least 0 and less than 1",
        ),
        (
            config().layer(Recurrent::elman(4).with_zoneout(-0.1, 0.0)).outputs(2),
            "layer 0 (rnn): its zoneout of h is -0.1, expected at least 0 and less than 1",
        ),
        (
            config().layer(Recurrent::cifg(4).with_zoneout(0.0, f64::NAN)).outputs(2),
            "layer 0 (cifg): its zoneout of c is NaN, expected at least 0 and less than 1",
        ),
        (
            // In f32, in which it is used, it is 1.
            config().layer(Recurrent::cifg(4).with_zoneout(0.0, 1.0 - 1e-12)).outputs(2),
            "layer 0 (cifg): its zoneout of c is 0.999999999999, expected at least 0 and less than 1",
        ),
        (
            config().layer(Recurrent::lstm(4)).layer(Recurrent::gru(4).with_projection(2)).outputs(2),
            "layer 1 (gru): its h is to be projected to 2 numbers, but a cell of kind gru has no projection; expected \
             an LSTM or a CIFG",
        ),
        (
            config().layer(Recurrent::elman(4).with_projection(2)).outputs(2),
            "layer 0 (rnn): its h is to be projected to 2 numbers, but a cell of kind elman has no projection; \
             expected an LSTM or a CIFG",
        ),
        (
            config().layer(Recurrent::peephole_lstm(4).with_projection(2)).outputs(2),
            "layer 0 (peephole_lstm): its h is to be projected to 2 numbers, but a cell of kind peephole_lstm has no \
             projection; expected an LSTM or a CIFG",
        ),
        (
            config().layer(Recurrent::cifg(4).with_projection(0)).outputs(2),
            "layer 0 (cifg): its h is to be projected to 0 numbers, expected at least 1 and fewer than its 4 hidden \
             units",
        ),
        (
            config().layer(Recurrent::lstm(4).with_projection(4)).outputs(2),
            "layer 0 (lstm): its h is to be projected to 4 numbers, expected at least 1 and fewer than its 4 hidden \
             units",
        ),
        (
            config().layer(Recurrent::lstm(4)).dense(0, Activation::Relu).outputs(2),
            "layer 1 (dense): the number of units is 0, expected at least 1",
        ),
        (
            config().embedding(4).layer(Recurrent::gru(4)).outputs(2),
            "layer 0 (embedding) reads tokens, but the network reads Dense(3)",
        ),
        (
            Config::gru(InputKind::Tokens(5), 4, 2).embedding(4),
            "layer 1 (embedding) reads tokens, but stands above another layer; expected it to be layer 0",
        ),
        (
            tagged().embedding(0).layer(Recurrent::gru(4)),
            "layer 0 (embedding): the number of columns is 0, expected at least 1",
        ),
        (
            tagged().layer(Embedding::new(4).with_padding(5)).layer(Recurrent::gru(4)),
            "layer 0 (embedding) has padding id 5, but the network has 5 tokens, counted from 0",
        ),
        (
            tagged().embedding(4).layer(Recurrent::gru(3)).tied(),
            "the read-out is tied to the embedding [5, 4], but has 5 outputs of rows of 3 numbers; expected 5 \
             outputs of rows of 4",
        ),
        (
            tagged().embedding(4).layer(Recurrent::gru(4)).outputs(6).tied(),
            "the read-out is tied to the embedding [5, 4], but has 6 outputs of rows of 4 numbers; expected 5 \
             outputs of rows of 4",
        ),
        (
            tagged().layer(Recurrent::gru(5).residual()),
            "layer 0 (gru) adds what it reads to its rows, but reads tokens",
        ),
        (
            config().layer(Recurrent::gru(4)).dropout(1.0).outputs(2),
            "layer 1 (dropout): the rate is 1, expected at least 0 and, in f32, below 1",
        ),
        (
            config().layer(LayerNorm::new().with_epsilon(0.0)).layer(Recurrent::gru(4)).outputs(2),
            "layer 0 (norm): ε is 0, expected a number above 0 that f32 can hold",
        ),
        (
            tagged().dropout(0.1).layer(Recurrent::gru(4)),
            "layer 0 (dropout) reads numbers, but the network reads Tokens(5)",
        ),
        (tagged().layer(Recurrent::gru(4)).tied(), "the read-out is tied to an embedding, but the network has none"),
        (
            config().dense(4, Activation::Relu).outputs(2),
            "the number of recurrent layers (L) is 0, expected at least 1",
        ),
        (
            config().layer(Recurrent::new(Cell::Elman(Activation::Gelu), 4)).outputs(2),
            "layer 0 (rnn): the activation of an Elman cell is Gelu, expected Tanh or Relu",
        ),
        (
            config().layer(Recurrent::lstm(4)).with_layers(1025).outputs(2),
            "the number of layers (L) is at least 1025, expected at most 1024",
        ),
        (
            config().layer(Recurrent::lstm(4)).with_layers(usize::MAX).outputs(2),
            "the number of layers (L) is at least 1025, expected at most 1024",
        ),
    ] {
        assert_eq!(words(Model::new(config)), format!("invalid configuration: {expected}"));
    }
    let mut model = Model::new(tagged().embedding(2).layer(Recurrent::gru(4))).unwrap();
    let before = model.clone();
    assert_eq!(words(model.set_parameter("weight", &[0.0])), "the model has no parameter `weight`");
    let table = "embedding.weight";
    assert_eq!(words(model.set_parameter(table, &[0.0; 9])), "embedding.weight has shape [9], expected [5, 2]");
    let refused = words(model.set_parameter(table, &[f32::NAN; 10]));
    assert_eq!(refused, "parameter `embedding.weight` holds NaN at element 0");
    assert_eq!(model, before);
    // A state of a list of another order has as many numbers, and is no state of it.
    let [config, other] =
        [[3, 5], [5, 3]].map(|[low, high]| config().layer(Recurrent::lstm(low)).layer(Recurrent::gru(high)).outputs(2));
    let state = Model::new(other).unwrap().initial_state(1).unwrap();
    let mut stream = StreamingPredictor::new(&Device::cpu(), &Model::new(config).unwrap(), 1).unwrap();
    assert_eq!(
        words(stream.set_state(&state)),
        "state is h [1, 5] of layer 0, h [1, 3] of layer 1, c [1, 5] of layer 0; expected h [1, 3] of layer 0, \
         h [1, 5] of layer 1, c [1, 3] of layer 0"
    );
}
