//! A network from PyTorch and back: reads the weights from a safetensors file, runs them, and writes them to another.
//!
//! The contract: what does not fit is said in one message, with exit code 1, and nothing is written then.
//!
//! ```text
//! python scripts/pytorch_round_trip.py save torch.safetensors
//! cargo run --example pytorch -- torch.safetensors --cell lstm --inputs 5 --hidden 7 --outputs 4 \
//!     --export back.safetensors
//! python scripts/pytorch_round_trip.py check torch.safetensors back.safetensors
//! ```

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use recurrent::formats::Names;
use recurrent::{
    Activation, BatchShape, Cell, Config, Device, Directions, InputKind, Model, Predictor, Reset, Sequences,
};
use recurrent_examples::program;

/// Reads an nn.RNN, nn.LSTM or nn.GRU with an nn.Linear on top from a safetensors file.
#[derive(Parser)]
#[command(name = "pytorch", max_term_width = 100)]
struct Args {
    /// A safetensors file with the state_dict of a module
    file: PathBuf,
    /// The recurrent cell
    #[arg(long)]
    cell: Kind,
    /// input_size
    #[arg(long)]
    inputs: usize,
    /// hidden_size
    #[arg(long)]
    hidden: usize,
    /// out_features of the nn.Linear
    #[arg(long)]
    outputs: usize,
    /// num_layers
    #[arg(long, default_value_t = 1)]
    layers: usize,
    /// bidirectional=True
    #[arg(long)]
    bidirectional: bool,
    /// bias=False
    #[arg(long)]
    no_bias: bool,
    /// bias=False of the nn.Linear
    #[arg(long)]
    no_head_bias: bool,
    /// What stands before the recurrent layers' names in the file
    #[arg(long, default_value = "encoder.rnn.")]
    prefix: String,
    /// What stands before the nn.Linear's names in the file
    #[arg(long, default_value = "head.")]
    head: String,
    /// Skips what else the file holds, but for recurrent tensors under the prefix
    #[arg(long)]
    ignore_others: bool,
    /// Prints the outputs at the last of this many steps of ones
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    run: Option<u32>,
    /// Where the weights are written to, for PyTorch
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// nn.RNN
    Rnn,
    /// nn.RNN with nonlinearity="relu"
    RnnRelu,
    /// nn.LSTM
    Lstm,
    /// nn.GRU
    Gru,
}

fn main() -> ExitCode {
    program::main(|| run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let cell = match args.cell {
        Kind::Rnn => Cell::Elman(Activation::Tanh),
        Kind::RnnRelu => Cell::Elman(Activation::Relu),
        Kind::Lstm => Cell::Lstm,
        Kind::Gru => Cell::Gru(Reset::AfterProduct),
    };
    let config = Config::of_cell(cell, InputKind::Dense(args.inputs), args.hidden, args.outputs)
        .with_layers(args.layers)
        .with_directions(if args.bidirectional { Directions::Bidirectional } else { Directions::Forward })
        .with_bias(!args.no_bias);
    let names = Names::new().recurrent(&args.prefix).read_out(&args.head);
    let names = if args.ignore_others { names.ignore_others() } else { names };
    let names = if args.no_head_bias { names.without_read_out_bias() } else { names };

    let model = Model::import(&args.file, config, &names)?;
    program::aside(format_args!("{}: {} parameters", args.file.display(), model.layout().parameter_count()));
    if let Some(steps) = args.run {
        let steps = steps as usize;
        let ones = Sequences::dense(BatchShape { steps, batch_size: 1 }, vec![1.0; steps.saturating_mul(args.inputs)]);
        let outputs = Predictor::new(&Device::cpu(), &model)?.run(&ones)?.outputs;
        let last = outputs.chunks(args.outputs).next_back().unwrap_or_default();
        writeln!(stdout(), "{}", serde_json::to_string(last)?)?;
    }
    if let Some(path) = &args.export {
        model.export(path, &names)?;
        program::aside(format_args!("{}: written", path.display()));
    }
    Ok(())
}
