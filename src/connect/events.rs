//! Parses a server-sent event stream incrementally and yields the data of each message event.

/// Buffers bytes until an event is complete. By the specification, lines end in LF, CR LF or CR,
/// `data` lines are joined, and an empty line ends the event.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    data: Option<String>,
    kind: String,
    after_cr: bool,
}

/// The stream is not valid UTF-8.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event stream is not UTF-8")]
pub struct EncodingError;

impl EventReader {
    /// Number of buffered bytes of the incomplete event.
    pub fn held(&self) -> usize {
        self.line.len() + self.data.as_ref().map_or(0, String::len)
    }

    /// Appends a piece of the stream and returns the data of every message event that it completes.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<String>, EncodingError> {
        let mut complete = Vec::new();
        let mut rest = piece;
        if std::mem::take(&mut self.after_cr) {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, after) = rest.split_at(end);
            self.line.extend_from_slice(text);
            rest = match after {
                [b'\r', b'\n', after @ ..] => after,
                [b'\r'] => {
                    self.after_cr = true;
                    &[]
                }
                [_, after @ ..] => after,
                [] => &[],
            };
            let line =
                String::from_utf8(std::mem::take(&mut self.line)).map_err(|_| EncodingError)?;
            complete.extend(self.take(&line));
        }
        self.line.extend_from_slice(rest);
        Ok(complete)
    }

    fn take(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            let kind = std::mem::take(&mut self.kind);
            return self
                .data
                .take()
                .filter(|_| kind.is_empty() || kind == "message");
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (field, &mut self.data) {
            ("data", Some(data)) => {
                data.push('\n');
                data.push_str(value);
            }
            ("data", none) => *none = Some(value.to_owned()),
            ("event", _) => value.clone_into(&mut self.kind),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_events_split_at_any_byte() {
        let stream = ": hello\n\ndata: one\n\nevent: message\r\nid: 7\r\ndata:two\r\ndata: \
            more\r\n\r\nevent: endpoint\ndata: /x\n\nretry: 3\rdata: Grüße\r\rdata\n\ndata: never \
            finished\n";
        for size in [1, 2, 3, 7, 1000] {
            let mut reader = EventReader::default();
            let mut received = Vec::new();
            for piece in stream.as_bytes().chunks(size) {
                received.extend(reader.push(piece).unwrap());
            }
            assert_eq!(
                received,
                ["one", "two\nmore", "Grüße", ""],
                "in pieces of {size}"
            );
            assert_eq!(reader.held(), "never finished".len());
        }
        assert_eq!(
            EventReader::default().push(b"data: \xff\n\n"),
            Err(EncodingError)
        );
    }
}
