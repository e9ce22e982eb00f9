//! A program's weights in an open checkpoint: finds, reads, checks the shape, takes the program's rows and
//! undoes the file's row order. Quantised rows move whole; nothing is decoded here unless asked. After
//! `Weights::new` every weight is known to be there with the shape that the program expects, and the
//! checkpoint is known to hold no other tensor that means something.

use std::collections::HashSet;

use tokenmill_formats::{Checkpoint, Encoding, TensorInfo, blocks};

use crate::architecture::{LONG_ROPE_FACTORS, ROPE_FACTORS};
use crate::config::unsupported;
use crate::error::{Error, Result};
use crate::program::{Program, RowOrder, WeightId, WeightSpec};

/// Most problems that one error lists.
const PROBLEMS_MAX: usize = 10;
/// Buffers that old checkpoints save beside their weights; everybody computes them anew.
const BUFFER_SUFFIXES: [&str; 5] = [
    ".rotary_emb.inv_freq",
    ".attention.masked_bias",
    ".attention.bias",
    ".attn.masked_bias",
    ".attn.bias",
];
/// Tensors that a program may leave alone: the frequency factors are already in its rotary table, and the
/// head of a tied model repeats the embedding.
const OPTIONAL_NAMES: [&str; 6] = [
    ROPE_FACTORS,
    LONG_ROPE_FACTORS[0],
    LONG_ROPE_FACTORS[1],
    "lm_head.weight",
    "output.weight",
    "embed_out.weight",
];

/// The first problems in words, and how many there are: a hostile file can have very many.
#[derive(Default)]
struct Problems {
    first: Vec<String>,
    count: usize,
}

impl Problems {
    fn add(&mut self, problem: impl FnOnce() -> String) {
        self.count += 1;
        if self.count <= PROBLEMS_MAX {
            self.first.push(problem());
        }
    }

    fn text(mut self) -> Option<String> {
        if self.count > PROBLEMS_MAX {
            self.first
                .push(format!("and {} more", self.count - PROBLEMS_MAX));
        }
        (self.count > 0).then(|| self.first.join("; "))
    }
}

/// One weight, in memory, rows in our order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// How the bytes encode elements.
    pub encoding: Encoding,
    /// `[outputs, inputs]` or `[n]`.
    pub shape: Vec<usize>,
    /// Row-major; each row is `encoding.row_bytes(inputs)` long. A vector is one row.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// The elements as f32, row-major.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let len = self.shape.iter().product();
        let mut elements = vec![0.0; len];
        blocks::dequantize(self.encoding, &self.bytes, &mut elements)?;
        Ok(elements)
    }
}

/// The weights that a program names.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    program: &'a Program,
    checkpoint: &'a Checkpoint,
}

impl<'a> Weights<'a> {
    /// Checks every weight of the program against the checkpoint's headers, and the reverse. No data is read.
    pub fn new(program: &'a Program, checkpoint: &'a Checkpoint) -> Result<Self> {
        let mut problems = Problems::default();
        for spec in &program.weights {
            match checkpoint.tensor(&spec.name) {
                None => problems.add(|| format!("missing {}", spec.name)),
                Some(info) => {
                    if let Some(problem) = problem(spec, info)? {
                        problems.add(|| problem);
                    }
                }
            }
        }
        let known: HashSet<&str> = program.weights.iter().map(|spec| &*spec.name).collect();
        let extra = checkpoint
            .tensors()
            .filter(|info| !known.contains(&*info.name) && !is_harmless(&info.name));
        extra.for_each(|info| problems.add(|| format!("unexpected {}", info.name)));
        match problems.text() {
            None => Ok(Self {
                program,
                checkpoint,
            }),
            Some(problems) => Err(Error::Tensors {
                architecture: program.architecture.to_owned(),
                problems,
            }),
        }
    }

    /// The program that these weights belong to.
    pub fn program(&self) -> &'a Program {
        self.program
    }

    /// Where a weight is and what shape it has.
    pub fn spec(&self, id: WeightId) -> &'a WeightSpec {
        &self.program.weights[id.0 as usize]
    }

    /// How the file encodes a weight.
    pub fn encoding(&self, id: WeightId) -> Result<Encoding> {
        Ok(self.info(id)?.encoding)
    }

    /// Bytes of a weight in the file's encoding, its own rows only.
    pub fn len_bytes(&self, id: WeightId) -> Result<u64> {
        let shape = &self.spec(id).shape;
        let bytes = self.encoding(id)?.tensor_bytes(shape).unwrap_or(usize::MAX);
        Ok(bytes as u64)
    }

    /// Reads a weight: `[outputs, inputs]` with rows in our order, in the file's encoding. All of it is finite.
    pub fn tensor(&self, id: WeightId) -> Result<Tensor> {
        let spec = self.spec(id);
        let info = self.info(id)?;
        let mut file = Vec::new();
        if let Some((first, len)) = run_of(spec) {
            // One expert of a stack must not read the whole stack.
            let row = row_bytes(spec, info.encoding);
            self.checkpoint
                .read_range(&spec.name, (first * row) as u64, len * row, &mut file)?;
            return checked(spec, info.encoding, file);
        }
        self.checkpoint.read(&spec.name, &mut file)?;
        let bytes = if spec.is_transposed {
            gather_columns(spec, info.encoding.block_bytes(), &file)
        } else if spec.rows.is_none() && spec.order == RowOrder::Plain {
            file
        } else {
            gather_rows(spec, info.encoding, &file)
        };
        checked(spec, info.encoding, bytes)
    }

    fn info(&self, id: WeightId) -> Result<&'a TensorInfo> {
        let name = &self.spec(id).name;
        self.checkpoint.tensor(name).ok_or_else(|| Error::Tensors {
            architecture: self.program.architecture.to_owned(),
            problems: format!("missing {name}"),
        })
    }
}

/// The rows of a weight that lie in its tensor as one run, in order: first and number.
fn run_of(spec: &WeightSpec) -> Option<(usize, usize)> {
    let slice = spec.rows?;
    let is_run = slice.repeat == 1 && spec.order == RowOrder::Plain && !spec.is_transposed;
    is_run.then_some((slice.start, slice.len))
}

/// A tensor whose values are finite.
fn checked(spec: &WeightSpec, encoding: Encoding, bytes: Vec<u8>) -> Result<Tensor> {
    if !blocks::all_finite(encoding, &bytes) {
        return Err(Error::NotFiniteWeight {
            name: spec.name.clone(),
        });
    }
    Ok(Tensor {
        encoding,
        shape: spec.shape.clone(),
        bytes,
    })
}

fn is_harmless(name: &str) -> bool {
    OPTIONAL_NAMES.contains(&name) || BUFFER_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// What is wrong with a tensor of the file, in words.
fn problem(spec: &WeightSpec, info: &TensorInfo) -> Result<Option<String>> {
    let (name, encoding) = (&spec.name, info.encoding);
    // Neither has a backend that computes it.
    if matches!(encoding, Encoding::Nvfp4 | Encoding::F64) {
        return Err(unsupported(format!("{encoding} of {name}")));
    }
    let is_plain = matches!(encoding, Encoding::F32 | Encoding::F16 | Encoding::Bf16);
    if !is_plain && !encoding.is_quantised() {
        return Ok(Some(format!("{name} is {encoding}, expected floats")));
    }
    let is_rearranged = spec.rows.is_some() || spec.order != RowOrder::Plain;
    let has_element_moves = spec.is_transposed || (spec.shape.len() == 1 && is_rearranged);
    if has_element_moves && !is_plain {
        return Ok(Some(format!("{name} is {encoding}, expected plain floats")));
    }
    if is_shape_right(spec, &info.shape) && encoding.tensor_bytes(&spec.shape).is_some() {
        return Ok(None);
    }
    Ok(Some(format!(
        "{name} is {:?}, expected {:?}",
        info.shape,
        file_shape(spec)
    )))
}

/// The shape that the file should have.
fn file_shape(spec: &WeightSpec) -> Vec<usize> {
    let mut shape = spec.shape.clone();
    if let (Some(slice), Some(rows)) = (spec.rows, shape.first_mut()) {
        *rows = slice.total;
    }
    if spec.is_transposed {
        shape.reverse();
    }
    shape
}

fn is_shape_right(spec: &WeightSpec, found: &[usize]) -> bool {
    let needed = file_shape(spec);
    match (spec.rows, &*needed, found) {
        // A stack of matrices, each as long as what we take of it.
        (Some(slice), &[rows, inputs], &[stacked, each, width]) => {
            each == slice.len && width == inputs && stacked.checked_mul(each) == Some(rows)
        }
        _ => needed == found,
    }
}

/// The file's row that is our row `row`: first the order within a head, then the slice.
fn file_row(spec: &WeightSpec, row: usize) -> usize {
    let row = match spec.order {
        RowOrder::Plain => row,
        RowOrder::RopePairs { head_dim } => {
            let (head, at, half) = (row / head_dim, row % head_dim, head_dim / 2);
            head * head_dim + 2 * (at % half) + at / half
        }
    };
    match spec.rows {
        None => row,
        Some(slice) => slice.start + row / slice.len * slice.stride + row % slice.len,
    }
}

/// Bytes of a row, in a tensor that is not transposed.
fn row_bytes(spec: &WeightSpec, encoding: Encoding) -> usize {
    let inputs = spec.shape.get(1).copied().unwrap_or(1);
    encoding.row_bytes(inputs).expect("checked by `problem`")
}

fn gather_rows(spec: &WeightSpec, encoding: Encoding, file: &[u8]) -> Vec<u8> {
    let row_bytes = row_bytes(spec, encoding);
    let mut bytes = Vec::with_capacity(spec.shape[0] * row_bytes);
    for row in 0..spec.shape[0] {
        let start = file_row(spec, row) * row_bytes;
        bytes.extend_from_slice(&file[start..start + row_bytes]);
    }
    bytes
}

fn gather_columns(spec: &WeightSpec, element_bytes: usize, file: &[u8]) -> Vec<u8> {
    let (outputs, inputs) = (spec.shape[0], spec.shape[1]);
    let width = file.len() / element_bytes / inputs.max(1);
    let mut bytes = Vec::with_capacity(outputs * inputs * element_bytes);
    for row in 0..outputs {
        let column = file_row(spec, row);
        for input in 0..inputs {
            let start = (input * width + column) * element_bytes;
            bytes.extend_from_slice(&file[start..start + element_bytes]);
        }
    }
    bytes
}
