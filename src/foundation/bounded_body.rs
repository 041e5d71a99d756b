//! Bodies of answers, read into memory up to a limit.

use bytes::{Bytes, BytesMut};

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body broke off")]
    Broken(#[source] reqwest::Error),
}

/// A body that is being read. It never holds more bytes than its limit.
#[derive(Debug)]
pub struct BoundedBody {
    limit: usize,
    /// Most bodies come in one piece, which is then the whole without a copy.
    first: Bytes,
    joined: BytesMut,
}

impl BoundedBody {
    /// `announced` is the length that the head of the answer gives, if it gives one: a body that is
    /// too long is refused before any of it is read.
    pub fn new(limit: usize, announced: Option<u64>) -> Result<Self, BodyError> {
        if announced.is_some_and(|announced| announced > limit as u64) {
            return Err(BodyError::TooLarge { limit });
        }
        Ok(Self {
            limit,
            first: Bytes::new(),
            joined: BytesMut::new(),
        })
    }

    pub fn push(&mut self, piece: Bytes) -> Result<(), BodyError> {
        let held = self.first.len() + self.joined.len();
        if piece.len() > self.limit - held {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        if held == 0 {
            self.first = piece;
        } else {
            self.joined
                .extend_from_slice(&std::mem::take(&mut self.first));
            self.joined.extend_from_slice(&piece);
        }
        Ok(())
    }

    pub fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        }
    }
}

/// Reads the body of an answer. The answer keeps its status and headers.
pub async fn read(answer: &mut reqwest::Response, limit: usize) -> Result<Bytes, BodyError> {
    let mut body = BoundedBody::new(limit, answer.content_length())?;
    while let Some(piece) = answer.chunk().await.map_err(BodyError::Broken)? {
        body.push(piece)?;
    }
    Ok(body.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_up_to_the_limit() {
        for pieces in [
            &["abcd"][..],
            &["ab", "cd"],
            &["", "a", "", "bc", "d", ""],
            &[],
        ] {
            let mut body = BoundedBody::new(4, None).unwrap();
            for piece in pieces {
                body.push(Bytes::from_static(piece.as_bytes())).unwrap();
            }
            assert_eq!(body.into_bytes(), pieces.concat());
        }
        for pieces in [&["abcde"][..], &["abcd", "e"], &["a", "bcde"]] {
            let mut body = BoundedBody::new(4, None).unwrap();
            let pushed = pieces
                .iter()
                .try_for_each(|piece| body.push(Bytes::from_static(piece.as_bytes())));
            assert!(
                matches!(pushed, Err(BodyError::TooLarge { limit: 4 })),
                "{pieces:?}"
            );
        }
    }

    #[test]
    fn an_announced_length_beyond_the_limit_is_refused_at_once() {
        assert!(BoundedBody::new(4, Some(4)).is_ok());
        for announced in [5, u64::MAX] {
            let refused = BoundedBody::new(4, Some(announced));
            assert!(
                matches!(refused, Err(BodyError::TooLarge { limit: 4 })),
                "{announced}"
            );
        }
    }

    #[test]
    fn a_body_in_one_piece_is_not_copied() {
        let piece = Bytes::from(vec![b'x'; 100]);
        let mut body = BoundedBody::new(100, Some(100)).unwrap();
        body.push(piece.clone()).unwrap();
        assert_eq!(body.into_bytes().as_ptr(), piece.as_ptr());
    }
}
