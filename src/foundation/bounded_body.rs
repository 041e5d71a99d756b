//! Reads response bodies into memory, up to a limit.

use bytes::{Bytes, BytesMut};

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body broke off")]
    Broken(#[source] reqwest::Error),
}

/// A body being read. It never holds more bytes than its limit.
#[derive(Debug)]
pub struct BoundedBody {
    limit: usize,
    /// Holds a body that arrives in one chunk, the common case, without a copy.
    single: Bytes,
    joined: BytesMut,
}

impl BoundedBody {
    /// Refuses a body that is too large before any of it is read, if `announced`, its
    /// `Content-Length`, exceeds the limit.
    pub fn new(limit: usize, announced: Option<u64>) -> Result<Self, BodyError> {
        if announced.is_some_and(|announced| announced > limit as u64) {
            return Err(BodyError::TooLarge { limit });
        }
        Ok(Self {
            limit,
            single: Bytes::new(),
            joined: BytesMut::new(),
        })
    }

    pub fn push(&mut self, piece: Bytes) -> Result<(), BodyError> {
        let length = self.single.len() + self.joined.len();
        if piece.len() > self.limit - length {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        if length == 0 {
            self.single = piece;
        } else {
            self.joined
                .extend_from_slice(&std::mem::take(&mut self.single));
            self.joined.extend_from_slice(&piece);
        }
        Ok(())
    }

    pub fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() {
            self.single
        } else {
            self.joined.freeze()
        }
    }
}

/// Reads the body of `answer`, whose status and headers stay available.
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
    fn joins_chunks_up_to_the_limit() {
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
    fn refuses_an_announced_length_over_the_limit() {
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
    fn does_not_copy_a_body_of_one_chunk() {
        let piece = Bytes::from(vec![b'x'; 100]);
        let mut body = BoundedBody::new(100, Some(100)).unwrap();
        body.push(piece.clone()).unwrap();
        assert_eq!(body.into_bytes().as_ptr(), piece.as_ptr());
    }
}
