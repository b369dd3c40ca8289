//! What a list of layers has to be: which may stand where, and what has to agree in size.
//!
//! The contract: a network that cannot work is refused in words that name the layer by its number and kind.

use super::config::Config;
use super::input::InputKind;
use super::layers::{Embedding, Layer};
use super::shape::check_size;
use crate::error::{Error, Result};

impl Config {
    pub(crate) fn check(&self) -> Result<()> {
        check_size("inputs (I)", self.input.size())?;
        check_size("recurrent layers (L)", self.recurrent_layers().count())?;
        let count = self.layers.len();
        if count > Self::MAX_LAYERS {
            let most = Self::MAX_LAYERS;
            return Err(Error::Config(format!(
                "the number of layers (L) is at least {count}, expected at most {most}"
            )));
        }
        self.check_columns()?;
        let mut pool = None;
        for (at, layer) in self.layers.iter().enumerate() {
            layer.check().map_err(|error| error.inside(&format!("layer {at} ({})", layer.kind())))?;
            if layer.is_residual() {
                self.check_residual(at, layer)?;
            }
            match (layer, pool) {
                (Layer::Pool(_), None) => pool = Some(at),
                (Layer::Pool(_) | Layer::Recurrent(_), Some(pool)) => {
                    return Err(Error::Config(format!(
                        "layer {at} ({}) reads steps, but layer {pool} (pool) leaves one row for each sequence; \
                         expected it below the pool",
                        layer.kind()
                    )));
                }
                (Layer::Embedding(embedding), _) => self.check_embedding(at, embedding)?,
                (Layer::LayerNorm(_) | Layer::Dropout(_), _)
                    if at == 0 && matches!(self.input, InputKind::Tokens(_)) =>
                {
                    return Err(Error::Config(format!(
                        "layer 0 ({}) reads numbers, but the network reads {:?}",
                        layer.kind(),
                        self.input
                    )));
                }
                (Layer::Recurrent(_), None) | (Layer::Dense(_) | Layer::LayerNorm(_) | Layer::Dropout(_), _) => {}
            }
        }
        check_size("outputs (O)", self.outputs)?;
        self.check_heads()?;
        if self.tied { self.check_tied() } else { Ok(()) }
    }

    /// Checks that there is a layer of that number.
    pub(crate) fn check_layer(&self, layer: usize) -> Result<()> {
        let count = self.layers.len();
        if layer < count {
            Ok(())
        } else {
            Err(Error::Config(format!(
                "layer {layer} is asked for, but the network's {count} layers are 0 to {}",
                count - 1
            )))
        }
    }

    fn check_columns(&self) -> Result<()> {
        let (count, most) = (self.columns.len(), Self::MAX_LAYERS);
        if count > most {
            return Err(Error::Config(format!("the number of columns is {count}, expected at most {most}")));
        }
        for (at, column) in self.columns.iter().enumerate() {
            column.check()?;
            let name = &column.name;
            if self.columns[..at].iter().any(|other| other.name == *name) {
                return Err(Error::Config(format!("two columns are called `{name}`, expected a name for each")));
            }
            if matches!(self.input, InputKind::Tokens(_)) && self.embedding_of_inputs().is_none() {
                return Err(Error::Config(format!(
                    "column `{name}` stands beside tokens that no embedding reads; expected an embedding as layer 0, \
                     or dense inputs"
                )));
            }
        }
        Ok(())
    }

    fn check_heads(&self) -> Result<()> {
        let (count, most) = (self.heads.len(), Self::MAX_LAYERS);
        if count > most {
            return Err(Error::Config(format!("the number of heads is {count}, expected at most {most}")));
        }
        for (at, head) in self.heads.iter().enumerate() {
            head.check()?;
            let (name, reads, layers) = (&head.name, head.reads, self.layers.len());
            if self.heads[..at].iter().any(|other| other.name == *name) {
                return Err(Error::Config(format!("two heads are called `{name}`, expected a name for each")));
            }
            if !(1..=layers).contains(&reads) {
                return Err(Error::Config(format!(
                    "head `{name}` reads what {reads} layers make, expected 1 to the {layers} layers of the network"
                )));
            }
        }
        Ok(())
    }

    fn check_residual(&self, at: usize, layer: &Layer) -> Result<()> {
        let kind = layer.kind();
        match (at, self.input) {
            (0, InputKind::Tokens(_)) => {
                Err(Error::Config(format!("layer {at} ({kind}) adds what it reads to its rows, but reads tokens")))
            }
            _ => Ok(()),
        }
    }

    fn check_embedding(&self, at: usize, embedding: &Embedding) -> Result<()> {
        let fails = |what: String| Err(Error::Config(format!("layer {at} (embedding) {what}")));
        match (at, self.input, embedding.padding) {
            (0, InputKind::Tokens(tokens), Some(padding)) if padding >= tokens => {
                fails(format!("has padding id {padding}, but the network has {tokens} tokens, counted from 0"))
            }
            (0, InputKind::Tokens(_), _) => Ok(()),
            (0, input, _) => fails(format!("reads tokens, but the network reads {input:?}")),
            _ => fails("reads tokens, but stands above another layer; expected it to be layer 0".to_owned()),
        }
    }

    fn check_tied(&self) -> Result<()> {
        let Some(embedding) = self.embedding_of_inputs() else {
            return Err(Error::Config("the read-out is tied to an embedding, but the network has none".to_owned()));
        };
        let ([given, read], tokens) = ([self.outputs, self.widths()[self.layers.len()]], self.input.size());
        if [given, read] == [tokens, embedding.width] {
            return Ok(());
        }
        let expected = embedding.width;
        Err(Error::Config(format!(
            "the read-out is tied to the embedding [{tokens}, {expected}], but has {given} outputs of rows of {read} \
             numbers; expected {tokens} outputs of rows of {expected}"
        )))
    }
}
