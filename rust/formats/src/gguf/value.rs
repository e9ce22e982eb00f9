//! A metadata value and how it is read. Arrays are stored as flat vectors of their element type, so that a
//! header of n bytes takes a small multiple of n in memory; arrays of arrays are refused.

use std::fmt;

use super::cursor::Cursor;
use crate::error::{Error, Result, echo};
use crate::file::ReadAt;
use crate::limits::HeaderLimits;

/// A metadata value: the thirteen types of GGUF.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Type 0.
    U8(u8),
    /// Type 1.
    I8(i8),
    /// Type 2.
    U16(u16),
    /// Type 3.
    I16(i16),
    /// Type 4.
    U32(u32),
    /// Type 5.
    I32(i32),
    /// Type 6.
    F32(f32),
    /// Type 7.
    Bool(bool),
    /// Type 8.
    String(String),
    /// Type 9.
    Array(Array),
    /// Type 10.
    U64(u64),
    /// Type 11.
    I64(i64),
    /// Type 12.
    F64(f64),
}

/// An array value, flat.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Of type 0.
    U8(Vec<u8>),
    /// Of type 1.
    I8(Vec<i8>),
    /// Of type 2.
    U16(Vec<u16>),
    /// Of type 3.
    I16(Vec<i16>),
    /// Of type 4.
    U32(Vec<u32>),
    /// Of type 5.
    I32(Vec<i32>),
    /// Of type 6.
    F32(Vec<f32>),
    /// Of type 7.
    Bool(Vec<bool>),
    /// Of type 8.
    String(Vec<String>),
    /// Of type 10.
    U64(Vec<u64>),
    /// Of type 11.
    I64(Vec<i64>),
    /// Of type 12.
    F64(Vec<f64>),
}

impl Array {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(items) => items.len(),
            Self::I8(items) => items.len(),
            Self::U16(items) => items.len(),
            Self::I16(items) => items.len(),
            Self::U32(items) => items.len(),
            Self::I32(items) => items.len(),
            Self::F32(items) => items.len(),
            Self::Bool(items) => items.len(),
            Self::String(items) => items.len(),
            Self::U64(items) => items.len(),
            Self::I64(items) => items.len(),
            Self::F64(items) => items.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    const fn type_name(&self) -> &'static str {
        match self {
            Self::U8(_) => "u8",
            Self::I8(_) => "i8",
            Self::U16(_) => "u16",
            Self::I16(_) => "i16",
            Self::U32(_) => "u32",
            Self::I32(_) => "i32",
            Self::F32(_) => "f32",
            Self::Bool(_) => "bool",
            Self::String(_) => "string",
            Self::U64(_) => "u64",
            Self::I64(_) => "i64",
            Self::F64(_) => "f64",
        }
    }
}

impl fmt::Display for Value {
    /// Type and value, cut: made for messages and listings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U8(value) => write!(f, "u8 {value}"),
            Self::I8(value) => write!(f, "i8 {value}"),
            Self::U16(value) => write!(f, "u16 {value}"),
            Self::I16(value) => write!(f, "i16 {value}"),
            Self::U32(value) => write!(f, "u32 {value}"),
            Self::I32(value) => write!(f, "i32 {value}"),
            Self::F32(value) => write!(f, "f32 {value}"),
            Self::Bool(value) => write!(f, "bool {value}"),
            Self::String(value) => write!(f, "string {}", echo(value)),
            Self::Array(array) => write!(f, "array of {} {}", array.len(), array.type_name()),
            Self::U64(value) => write!(f, "u64 {value}"),
            Self::I64(value) => write!(f, "i64 {value}"),
            Self::F64(value) => write!(f, "f64 {value}"),
        }
    }
}

/// Reads the type and the value of `key`.
pub(super) fn read_value<R: ReadAt>(
    cursor: &mut Cursor<'_, R>,
    key: &str,
    limits: &HeaderLimits,
) -> Result<Value> {
    Ok(match cursor.u32(key)? {
        0 => Value::U8(u8::from_le_bytes(cursor.array(key)?)),
        1 => Value::I8(i8::from_le_bytes(cursor.array(key)?)),
        2 => Value::U16(u16::from_le_bytes(cursor.array(key)?)),
        3 => Value::I16(i16::from_le_bytes(cursor.array(key)?)),
        4 => Value::U32(u32::from_le_bytes(cursor.array(key)?)),
        5 => Value::I32(i32::from_le_bytes(cursor.array(key)?)),
        6 => Value::F32(f32::from_le_bytes(cursor.array(key)?)),
        7 => Value::Bool(bool_of(cursor.array(key)?).map_err(|got| bad_bool(cursor, key, got))?),
        8 => Value::String(cursor.string(key, limits.string_len_max_bytes)?),
        9 => Value::Array(read_array(cursor, key, limits)?),
        10 => Value::U64(u64::from_le_bytes(cursor.array(key)?)),
        11 => Value::I64(i64::from_le_bytes(cursor.array(key)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.array(key)?)),
        other => return Err(cursor.corrupt(key, "of a value type 0 to 12", other)),
    })
}

fn read_array<R: ReadAt>(
    cursor: &mut Cursor<'_, R>,
    key: &str,
    limits: &HeaderLimits,
) -> Result<Array> {
    let element = cursor.u32(key)?;
    let max = limits.array_len_max;
    Ok(match element {
        0 => Array::U8(numbers(cursor, key, max, u8::from_le_bytes)?),
        1 => Array::I8(numbers(cursor, key, max, i8::from_le_bytes)?),
        2 => Array::U16(numbers(cursor, key, max, u16::from_le_bytes)?),
        3 => Array::I16(numbers(cursor, key, max, i16::from_le_bytes)?),
        4 => Array::U32(numbers(cursor, key, max, u32::from_le_bytes)?),
        5 => Array::I32(numbers(cursor, key, max, i32::from_le_bytes)?),
        6 => Array::F32(numbers(cursor, key, max, f32::from_le_bytes)?),
        7 => {
            let bytes = numbers(cursor, key, max, |byte: [u8; 1]| byte)?;
            let bools: std::result::Result<_, _> = bytes.into_iter().map(bool_of).collect();
            Array::Bool(bools.map_err(|got| bad_bool(cursor, key, got))?)
        }
        8 => Array::String(strings(cursor, key, limits)?),
        10 => Array::U64(numbers(cursor, key, max, u64::from_le_bytes)?),
        11 => Array::I64(numbers(cursor, key, max, i64::from_le_bytes)?),
        12 => Array::F64(numbers(cursor, key, max, f64::from_le_bytes)?),
        9 => {
            return Err(cursor.corrupt(
                key,
                "an array of numbers, bools or strings",
                "an array of arrays",
            ));
        }
        other => return Err(cursor.corrupt(key, "an array of a value type 0 to 12", other)),
    })
}

/// `count` numbers of `N` bytes. The count was compared with the bytes left, so the vector is no larger than
/// what the file holds.
fn numbers<R: ReadAt, T, const N: usize>(
    cursor: &mut Cursor<'_, R>,
    key: &str,
    max: usize,
    decode: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let count = cursor.count(key, N as u64, max)?;
    let bytes = cursor.bytes(count.saturating_mul(N), key)?;
    Ok(bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|chunk| decode(*chunk))
        .collect())
}

/// Strings, each with its length. An entry takes 8 bytes or more in the file and 24 or more in memory, so the
/// header limit bounds them all; the vector grows as they arrive.
fn strings<R: ReadAt>(
    cursor: &mut Cursor<'_, R>,
    key: &str,
    limits: &HeaderLimits,
) -> Result<Vec<String>> {
    let count = cursor.count(key, 8, limits.array_len_max)?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(cursor.string(key, limits.string_len_max_bytes)?);
    }
    Ok(items)
}

const fn bool_of(byte: [u8; 1]) -> std::result::Result<bool, u8> {
    match byte {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(other),
    }
}

fn bad_bool<R: ReadAt>(cursor: &Cursor<'_, R>, key: &str, got: u8) -> Error {
    cursor.corrupt(key, "a bool of 0 or 1", got)
}
