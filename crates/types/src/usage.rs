//! What a request used, split into classes that never overlap, so that a charge is a plain sum over them.

use std::fmt;

use serde::{Deserialize, Serialize, ser::SerializeMap};

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A disjoint class of tokens. The names are those of the usage table's columns and of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum UsageClass {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl UsageClass {
            pub const ALL: [Self; Usage::CLASSES] = [$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

classes! {
    /// Input read afresh.
    InputUncached = "input_uncached",
    /// Input read from the provider's prompt cache.
    InputCacheRead = "input_cache_read",
    /// Input written to a cache of five minutes (or of the provider's one kind).
    InputCacheWrite5m = "input_cache_write_5m",
    /// Input written to a cache of one hour.
    InputCacheWrite1h = "input_cache_write_1h",
    InputAudio = "input_audio",
    InputAudioCached = "input_audio_cached",
    InputImage = "input_image",
    InputVideo = "input_video",
    OutputText = "output_text",
    /// Reasoning the provider bills, shown or not.
    OutputReasoning = "output_reasoning",
    OutputAudio = "output_audio",
    OutputImage = "output_image",
}

/// Token counts by class. Only what is above zero is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    counts: [u64; Self::CLASSES],
}

impl Usage {
    pub const CLASSES: usize = 12;

    pub const fn get(&self, class: UsageClass) -> u64 {
        self.counts[class as usize]
    }

    pub const fn set(&mut self, class: UsageClass, tokens: u64) {
        self.counts[class as usize] = tokens;
    }

    pub const fn with(mut self, class: UsageClass, tokens: u64) -> Self {
        self.set(class, tokens);
        self
    }

    /// The classes that are not zero, in the order of [`UsageClass::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (UsageClass, u64)> + '_ {
        UsageClass::ALL.into_iter().map(|class| (class, self.get(class))).filter(|(_, tokens)| *tokens > 0)
    }

    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|tokens| *tokens == 0)
    }

    pub fn input_total(&self) -> u64 {
        self.sum(|class| class < UsageClass::OutputText)
    }

    pub fn output_total(&self) -> u64 {
        self.sum(|class| class >= UsageClass::OutputText)
    }

    pub fn total(&self) -> u64 {
        self.sum(|_| true)
    }

    /// Class by class; `None` on overflow.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        let mut sum = Self::default();
        for (slot, (a, b)) in sum.counts.iter_mut().zip(self.counts.iter().zip(&other.counts)) {
            *slot = a.checked_add(*b)?;
        }
        Some(sum)
    }

    fn sum(&self, belongs: impl Fn(UsageClass) -> bool) -> u64 {
        self.iter().filter(|(class, _)| belongs(*class)).fold(0, |sum, (_, tokens)| sum.saturating_add(tokens))
    }
}

impl fmt::Display for UsageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Usage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (class, tokens) in self.iter() {
            map.serialize_entry(class.as_str(), &tokens)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = std::collections::BTreeMap::<UsageClass, u64>::deserialize(deserializer)?;
        Ok(counts.into_iter().fold(Self::default(), |usage, (class, tokens)| usage.with(class, tokens)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_split_at_the_first_output_class() {
        let usage = Usage::default()
            .with(UsageClass::InputUncached, 10)
            .with(UsageClass::InputCacheRead, 5)
            .with(UsageClass::OutputText, 3)
            .with(UsageClass::OutputReasoning, 4);
        assert_eq!((usage.input_total(), usage.output_total(), usage.total()), (15, 7, 22));
    }

    #[test]
    fn only_what_was_used_is_written_and_it_reads_back() {
        let usage = Usage::default().with(UsageClass::InputCacheWrite1h, 7).with(UsageClass::OutputText, 1);
        let text = serde_json::to_string(&usage).unwrap();
        assert_eq!(text, r#"{"input_cache_write_1h":7,"output_text":1}"#);
        assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), usage);
    }
}
