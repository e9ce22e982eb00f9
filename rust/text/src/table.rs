//! What each id is as text: its bytes, its display form and whether it is a control token. One buffer
//! holds all bytes, so that a vocabulary of a hundred thousand tokens is three allocations.

/// Most bytes of all tokens together; the largest vocabularies have about two million.
pub(crate) const TABLE_LEN_MAX_BYTES: usize = 1 << 28;

/// Tokens by id; ids may have holes (added tokens of a `tokenizer.json` need not follow on).
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenTable {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    names: String,
    bytes_len_max: usize,
}

/// Ends of the token's bytes and name in the buffers; they begin where the entry before ends.
#[derive(Clone, Copy, Debug)]
struct Entry {
    bytes_end: u32,
    name_end: u32,
    is_present: bool,
    is_control: bool,
}

impl TokenTable {
    /// Appends the next id. `name` is how the file spells it.
    pub(crate) fn push(&mut self, name: &str, bytes: &[u8], is_control: bool) {
        self.names.push_str(name);
        self.bytes.extend_from_slice(bytes);
        self.bytes_len_max = self.bytes_len_max.max(bytes.len());
        self.end_entry(true, is_control);
    }

    /// Appends an id that has no token.
    pub(crate) fn push_hole(&mut self) {
        self.end_entry(false, false);
    }

    fn end_entry(&mut self, is_present: bool, is_control: bool) {
        let bytes_end =
            u32::try_from(self.bytes.len()).expect("vocabularies are bounded below 4 GiB");
        let name_end =
            u32::try_from(self.names.len()).expect("vocabularies are bounded below 4 GiB");
        self.entries.push(Entry {
            bytes_end,
            name_end,
            is_present,
            is_control,
        });
    }

    /// Whether the tokens together are longer than any vocabulary's; the loaders stop there.
    pub(crate) fn is_too_large(&self) -> bool {
        self.bytes.len().max(self.names.len()) > TABLE_LEN_MAX_BYTES
    }

    /// Ids, holes included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the longest token.
    pub(crate) fn bytes_len_max(&self) -> usize {
        self.bytes_len_max
    }

    /// The bytes that `id` stands for in text.
    pub(crate) fn bytes(&self, id: u32) -> Option<&[u8]> {
        let (entry, begin) = self.entry(id)?;
        self.bytes
            .get(begin.bytes_end as usize..entry.bytes_end as usize)
    }

    /// How the file spells `id`.
    pub(crate) fn name(&self, id: u32) -> Option<&str> {
        let (entry, begin) = self.entry(id)?;
        self.names
            .get(begin.name_end as usize..entry.name_end as usize)
    }

    /// Whether `id` is a control token.
    pub(crate) fn is_control(&self, id: u32) -> bool {
        self.entry(id).is_some_and(|(entry, _)| entry.is_control)
    }

    /// The entry of `id` and the one before it, if it has a token.
    fn entry(&self, id: u32) -> Option<(Entry, Entry)> {
        let entry = *self.entries.get(id as usize)?;
        let nothing = Entry {
            bytes_end: 0,
            name_end: 0,
            is_present: false,
            is_control: false,
        };
        let before = (id as usize)
            .checked_sub(1)
            .and_then(|index| self.entries.get(index))
            .copied();
        entry
            .is_present
            .then_some((entry, before.unwrap_or(nothing)))
    }
}
