//! The position in a trace as it is passed between programs (W3C Trace Context, version 00).

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Whether `text` is a valid `traceparent` that may be passed on.
pub fn is_traceparent(text: &str) -> bool {
    let lower_hex = |part: &str, digits| {
        part.len() == digits
            && part
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let not_zero = |part: &str| part.bytes().any(|byte| byte != b'0');
    let mut parts = text.split('-');
    let (Some(version), Some(trace), Some(span), Some(flags), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return false;
    };
    version == "00"
        && lower_hex(trace, 32)
        && not_zero(trace)
        && lower_hex(span, 16)
        && not_zero(span)
        && lower_hex(flags, 2)
}

/// A span's identity in its trace; empty when tracing is off.
#[derive(Debug, Clone, Default)]
pub struct TraceContext(pub(super) Option<SpanContext>);

impl TraceContext {
    /// Parses the `traceparent` of a header or a message. An invalid one yields an empty context.
    pub(super) fn read(text: &str) -> Self {
        if !is_traceparent(text) {
            return Self(None);
        }
        let mut parts = text.split('-').skip(1);
        let mut next = || parts.next().unwrap_or_default();
        let (trace, span, flags) = (TraceId::from_hex(next()), SpanId::from_hex(next()), next());
        let (Ok(trace), Ok(span), Ok(flags)) = (trace, span, u8::from_str_radix(flags, 16)) else {
            return Self(None);
        };
        // `sampled` is the only flag that version 00 defines.
        let flags = TraceFlags::default().with_sampled(flags & 1 == 1);
        Self(Some(SpanContext::new(
            trace,
            span,
            flags,
            true,
            TraceState::NONE,
        )))
    }

    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Formats the context as a `traceparent`.
    pub fn traceparent(&self) -> Option<String> {
        let span = self.0.as_ref()?;
        let sampled = u8::from(span.is_sampled());
        Some(format!(
            "00-{}-{}-{sampled:02x}",
            span.trace_id(),
            span.span_id()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_round_trips() {
        for text in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-00000000000000a1-00",
        ] {
            assert_eq!(
                TraceContext::read(text).traceparent().as_deref(),
                Some(text)
            );
        }
        for wrong in [
            "",
            "00-x-y-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        ] {
            assert!(!TraceContext::read(wrong).is_known(), "{wrong}");
        }
        assert_eq!(TraceContext::default().traceparent(), None);
    }
}
