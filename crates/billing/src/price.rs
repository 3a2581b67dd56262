//! Dated prices and the exact charge they make of a usage.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tallygate_types::{Currency, ModelId, Pico, PriceVersionId, Timestamp, UnitPrice, Usage, UsageClass};

/// A price for each usage class, where one is set. In JSON: class name to money per million tokens, as decimal text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassPrices {
    prices: [Option<UnitPrice>; Usage::CLASSES],
}

/// One dated price of a model. Append-only: a new price is a new version; the one in force when a request was accepted
/// applies to all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceVersion {
    pub id: PriceVersionId,
    pub model_id: ModelId,
    pub currency: Currency,
    pub valid_from: Timestamp,
    pub prices: ClassPrices,
    /// Where the figures come from, if they were not typed in (`catalogue …`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub created_at: Timestamp,
    /// Who set it, as the audit trail names them.
    pub created_by: String,
}

/// The exact price of a usage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Charge {
    pub total: Pico,
    pub lines: Vec<ChargeLine>,
}

/// One class of a charge: `tokens` × `unit_price` = `amount`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChargeLine {
    pub class: UsageClass,
    /// The class whose price applied; another than `class` where that one has no price of its own.
    pub priced_as: UsageClass,
    pub tokens: u64,
    #[serde(serialize_with = "per_million")]
    pub unit_price: UnitPrice,
    pub amount: Pico,
}

/// A usage cannot be charged with these prices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unpriced {
    #[error("the model has no price for {0}, nor for a class that stands in for it; set one (zero is allowed)")]
    Class(UsageClass),
    #[error("the charge is beyond what can be recorded")]
    Overflow,
}

/// The classes to try in turn for a class without a price of its own. A discount nobody declared is not given (cached
/// input costs as fresh input), and nothing becomes free by being forgotten.
pub const fn fallbacks(class: UsageClass) -> &'static [UsageClass] {
    use UsageClass as C;
    match class {
        C::InputUncached | C::OutputText => &[],
        C::InputCacheWrite1h => &[C::InputCacheWrite5m, C::InputUncached],
        C::InputAudioCached => &[C::InputAudio, C::InputUncached],
        C::InputCacheRead | C::InputCacheWrite5m | C::InputAudio | C::InputImage | C::InputVideo => &[C::InputUncached],
        C::OutputReasoning | C::OutputAudio | C::OutputImage => &[C::OutputText],
    }
}

impl ClassPrices {
    pub const fn get(&self, class: UsageClass) -> Option<UnitPrice> {
        self.prices[class as usize]
    }

    pub const fn set(&mut self, class: UsageClass, price: Option<UnitPrice>) {
        self.prices[class as usize] = price;
    }

    pub const fn with(mut self, class: UsageClass, price: UnitPrice) -> Self {
        self.set(class, Some(price));
        self
    }

    /// The price that applies to `class`, and the class it was set for.
    pub fn effective(&self, class: UsageClass) -> Option<(UsageClass, UnitPrice)> {
        std::iter::once(&class).chain(fallbacks(class)).find_map(|&c| self.get(c).map(|price| (c, price)))
    }

    /// The classes that have a price of their own.
    pub fn iter(&self) -> impl Iterator<Item = (UsageClass, UnitPrice)> + '_ {
        UsageClass::ALL.into_iter().filter_map(|class| self.get(class).map(|price| (class, price)))
    }

    /// Whether every price that is set is zero: then nothing can be charged wrongly.
    pub fn are_zero(&self) -> bool {
        self.iter().all(|(_, price)| price == UnitPrice::ZERO)
    }

    pub fn is_empty(&self) -> bool {
        self.prices.iter().all(Option::is_none)
    }

    fn line(&self, class: UsageClass, tokens: u64) -> Result<ChargeLine, Unpriced> {
        let (priced_as, unit_price) = self.effective(class).ok_or(Unpriced::Class(class))?;
        let amount = unit_price.checked_mul(tokens).ok_or(Unpriced::Overflow)?;
        Ok(ChargeLine { class, priced_as, tokens, unit_price, amount })
    }

    /// The exact sum of tokens × price over the classes used.
    pub fn charge(&self, usage: &Usage) -> Result<Charge, Unpriced> {
        let lines = usage.iter().map(|(class, tokens)| self.line(class, tokens)).collect::<Result<Vec<_>, _>>()?;
        Ok(Charge { total: self.total(usage)?, lines })
    }

    /// The total of [`charge`](Self::charge) alone.
    pub fn total(&self, usage: &Usage) -> Result<Pico, Unpriced> {
        let add = |sum: Pico, (class, tokens)| {
            let amount = self.line(class, tokens)?.amount;
            sum.checked_add(amount).ok_or(Unpriced::Overflow)
        };
        let total = usage.iter().try_fold(Pico::ZERO, add)?;
        // The databases hold an amount in 64 bits: what does not fit must fail here and not in the shipper.
        total.to_i64().map(|_| total).ok_or(Unpriced::Overflow)
    }

    /// The dearest of the prices that may apply to `classes`.
    fn dearest(&self, classes: &[UsageClass]) -> Result<UnitPrice, Unpriced> {
        let mut dearest = UnitPrice::ZERO;
        for &class in classes {
            dearest = dearest.max(self.effective(class).ok_or(Unpriced::Class(class))?.1);
        }
        Ok(dearest)
    }

    /// What a request may cost at most: the upper estimate of its input and its output cap, each at the dearest text price
    /// that can apply to it (input may turn out to be a cache write, output may turn out to be reasoning).
    pub fn reservation(&self, input_upper_bound: u64, output_cap: u64) -> Result<Pico, Unpriced> {
        use UsageClass as C;
        self.reservation_for(
            &[C::InputUncached, C::InputCacheWrite5m],
            input_upper_bound,
            &[C::OutputText, C::OutputReasoning],
            output_cap,
        )
    }

    /// The same for input and output that may turn out to be of these classes.
    pub fn reservation_for(
        &self,
        input_classes: &[UsageClass],
        input_upper_bound: u64,
        output_classes: &[UsageClass],
        output_cap: u64,
    ) -> Result<Pico, Unpriced> {
        let input = self.dearest(input_classes)?.checked_mul(input_upper_bound);
        let output = match output_cap {
            0 => Some(Pico::ZERO), // embeddings: a model without output needs no output price
            cap => self.dearest(output_classes)?.checked_mul(cap),
        };
        let sum = input.zip(output).and_then(|(a, b)| a.checked_add(b)).ok_or(Unpriced::Overflow)?;
        sum.to_i64().map(|_| sum).ok_or(Unpriced::Overflow)
    }

    /// How much output `left` covers beside so much input: the same as [`reservation_for`](Self::reservation_for), the other way round.
    pub fn output_within(
        &self,
        input_classes: &[UsageClass],
        input_upper_bound: u64,
        output_classes: &[UsageClass],
        left: Pico,
    ) -> Result<u64, Unpriced> {
        let input = self.dearest(input_classes)?.checked_mul(input_upper_bound).ok_or(Unpriced::Overflow)?;
        let rest = left.get().saturating_sub(input.get());
        let unit = i128::from(self.dearest(output_classes)?.get());
        Ok(match rest {
            ..0 => 0,
            _ if unit == 0 => u64::MAX,
            _ => u64::try_from(rest / unit).unwrap_or(u64::MAX),
        })
    }

    /// What the provider's prompt cache saved: what the input that was read from it or written to it would have cost uncached,
    /// less what it did cost. Below zero where writing cost more than reading saved, as the first turn of a conversation does
    /// with providers that charge for writing. What has no price saves nothing.
    pub fn cache_saved(&self, usage: &Usage) -> Pico {
        use UsageClass as C;
        const CACHED: [(UsageClass, UsageClass); 4] = [
            (C::InputCacheRead, C::InputUncached),
            (C::InputCacheWrite5m, C::InputUncached),
            (C::InputCacheWrite1h, C::InputUncached),
            (C::InputAudioCached, C::InputAudio),
        ];
        let saved = |(cached, uncached): (UsageClass, UsageClass)| {
            let price = |class| self.effective(class).map(|(_, price)| i128::from(price.get()));
            let tokens = usage.get(cached);
            if tokens == 0 {
                return Some(0);
            }
            (price(uncached)? - price(cached)?).checked_mul(i128::from(tokens))
        };
        let sum = CACHED.into_iter().filter_map(saved).fold(0_i128, i128::saturating_add);
        let saved = Pico::new(sum);
        // The databases hold an amount in 64 bits.
        if saved.to_i64().is_some() { saved } else { Pico::ZERO }
    }

    /// `usage` with tokens taken away, from the last class on, until it costs no more than `limit`.
    pub fn fit(&self, usage: &Usage, limit: Pico) -> Usage {
        let mut fitted = Usage::default();
        let mut left = limit.get().max(0);
        for (class, tokens) in usage.iter() {
            let unit = self.effective(class).map_or(0, |(_, price)| i128::from(price.get()));
            let affordable = if unit == 0 { i128::from(tokens) } else { (left / unit).min(i128::from(tokens)) };
            left -= affordable * unit;
            fitted.set(class, u64::try_from(affordable).unwrap_or(tokens));
        }
        fitted
    }
}

impl PriceVersion {
    /// See [`ClassPrices::charge`].
    pub fn charge(&self, usage: &Usage) -> Result<Charge, Unpriced> {
        self.prices.charge(usage)
    }

    /// See [`ClassPrices::total`].
    pub fn total(&self, usage: &Usage) -> Result<Pico, Unpriced> {
        self.prices.total(usage)
    }

    /// See [`ClassPrices::reservation`].
    pub fn reservation(&self, input_upper_bound: u64, output_cap: u64) -> Result<Pico, Unpriced> {
        self.prices.reservation(input_upper_bound, output_cap)
    }

    /// See [`ClassPrices::reservation_for`].
    pub fn reservation_for(
        &self,
        input_classes: &[UsageClass],
        input_upper_bound: u64,
        output_classes: &[UsageClass],
        output_cap: u64,
    ) -> Result<Pico, Unpriced> {
        self.prices.reservation_for(input_classes, input_upper_bound, output_classes, output_cap)
    }

    /// See [`ClassPrices::fit`].
    pub fn fit(&self, usage: &Usage, limit: Pico) -> Usage {
        self.prices.fit(usage, limit)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn per_million<S: Serializer>(price: &UnitPrice, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&price.to_per_million())
}

impl Serialize for ClassPrices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(class, price)| (class.as_str(), price.to_per_million())))
    }
}

impl<'de> Deserialize<'de> for ClassPrices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut prices = Self::default();
        for (class, text) in BTreeMap::<UsageClass, String>::deserialize(deserializer)? {
            prices.set(class, Some(UnitPrice::parse_per_million(&text).map_err(D::Error::custom)?));
        }
        Ok(prices)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use UsageClass as C;

    fn per_million(text: &str) -> UnitPrice {
        UnitPrice::parse_per_million(text).unwrap()
    }

    fn prices(list: &[(UsageClass, &str)]) -> ClassPrices {
        list.iter().fold(ClassPrices::default(), |prices, (class, text)| prices.with(*class, per_million(text)))
    }

    #[test]
    fn a_charge_is_the_exact_sum_of_its_lines() {
        let prices = prices(&[(C::InputUncached, "3"), (C::InputCacheRead, "0.3"), (C::OutputText, "15")]);
        let usage = Usage::default().with(C::InputUncached, 1_001).with(C::InputCacheRead, 7).with(C::OutputText, 13);
        let charge = prices.charge(&usage).unwrap();
        let lines: Vec<_> = charge.lines.iter().map(|l| (l.class, l.tokens, l.amount.to_string())).collect();
        assert_eq!(
            lines,
            [
                (C::InputUncached, 1_001, "0.003003".to_owned()),
                (C::InputCacheRead, 7, "0.0000021".to_owned()),
                (C::OutputText, 13, "0.000195".to_owned())
            ]
        );
        assert_eq!(charge.total.to_string(), "0.0032001");
        assert_eq!(prices.total(&usage), Ok(charge.total));
    }

    #[test]
    fn a_class_without_a_price_costs_as_the_class_that_stands_in_for_it_and_is_never_free() {
        let two = prices(&[(C::InputUncached, "2"), (C::OutputText, "8")]);
        for class in C::ALL {
            let expected =
                if class < C::OutputText { (C::InputUncached, per_million("2")) } else { (C::OutputText, per_million("8")) };
            assert_eq!(two.effective(class), Some(expected), "{class}");
        }
        let write = two.with(C::InputCacheWrite5m, per_million("2.5"));
        assert_eq!(write.effective(C::InputCacheWrite1h), Some((C::InputCacheWrite5m, per_million("2.5"))));
        let audio = two.with(C::InputAudio, per_million("40"));
        assert_eq!(audio.effective(C::InputAudioCached), Some((C::InputAudio, per_million("40"))));
    }

    #[test]
    fn a_used_class_with_no_price_at_all_is_unpriced_but_zero_is_a_price() {
        let input_only = prices(&[(C::InputUncached, "2")]);
        let usage = Usage::default().with(C::InputUncached, 5).with(C::OutputReasoning, 1);
        assert_eq!(input_only.charge(&usage), Err(Unpriced::Class(C::OutputReasoning)));
        let free_output = input_only.with(C::OutputText, UnitPrice::ZERO);
        assert_eq!(free_output.charge(&usage).unwrap().total, Pico::new(10_000_000));
        assert_eq!(ClassPrices::default().charge(&Usage::default()).unwrap().total, Pico::ZERO);
    }

    #[test]
    fn a_charge_the_database_could_not_hold_is_refused() {
        let dear = ClassPrices::default().with(C::OutputText, UnitPrice::new(i64::MAX).unwrap());
        assert_eq!(dear.charge(&Usage::default().with(C::OutputText, 2)), Err(Unpriced::Overflow));
        assert_eq!(dear.total(&Usage::default().with(C::OutputText, 2)), Err(Unpriced::Overflow));
        assert_eq!(dear.charge(&Usage::default().with(C::OutputText, u64::MAX)), Err(Unpriced::Overflow));
    }

    #[test]
    fn a_reservation_takes_the_dearest_price_that_can_apply() {
        let prices =
            prices(&[(C::InputUncached, "3"), (C::InputCacheWrite5m, "3.75"), (C::OutputText, "15"), (C::OutputReasoning, "20")]);
        assert_eq!(prices.reservation(100, 10).unwrap(), Pico::new(100 * 3_750_000 + 10 * 20_000_000));
        let embedding = ClassPrices::default().with(C::InputUncached, per_million("0.02"));
        assert_eq!(embedding.reservation(1_000, 0).unwrap(), Pico::new(20_000_000));
        assert_eq!(embedding.reservation(1_000, 1), Err(Unpriced::Class(C::OutputText)));
    }

    #[test]
    fn what_is_left_covers_as_much_output_as_may_be_reserved_with_it() {
        let prices = prices(&[(C::InputUncached, "3"), (C::OutputText, "15"), (C::OutputReasoning, "20")]);
        let (input, output) = (&[C::InputUncached][..], &[C::OutputText, C::OutputReasoning][..]);
        let within = |left: i128| prices.output_within(input, 100, output, Pico::new(left)).unwrap();
        let ten = prices.reservation_for(input, 100, output, 10).unwrap().get();
        assert_eq!([within(ten), within(ten - 1), within(300_000_000), within(299_999_999), within(-1)], [10, 9, 0, 0, 0]);
        let free = prices.with(C::OutputText, UnitPrice::ZERO).with(C::OutputReasoning, UnitPrice::ZERO);
        assert_eq!(free.output_within(input, 100, output, Pico::new(300_000_000)), Ok(u64::MAX));
    }

    #[test]
    fn a_cache_saves_what_reading_spares_less_what_writing_costs_more() {
        let anthropic = prices(&[
            (C::InputUncached, "3"),
            (C::InputCacheRead, "0.3"),
            (C::InputCacheWrite5m, "3.75"),
            (C::InputCacheWrite1h, "6"),
            (C::OutputText, "15"),
        ]);
        let of = |class, tokens| anthropic.cache_saved(&Usage::default().with(class, tokens)).get();
        assert_eq!(of(C::InputCacheRead, 10), 27_000_000);
        assert_eq!(of(C::InputCacheWrite5m, 10), -7_500_000);
        assert_eq!(of(C::InputCacheWrite1h, 10), -30_000_000);
        assert_eq!(of(C::InputUncached, 10) + of(C::OutputText, 10), 0);
        let both = Usage::default().with(C::InputCacheRead, 10).with(C::InputCacheWrite5m, 10).with(C::InputUncached, 1_000);
        assert_eq!(anthropic.cache_saved(&both).get(), 19_500_000);
        // A discount nobody declared saves nothing.
        assert_eq!(prices(&[(C::InputUncached, "3")]).cache_saved(&both), Pico::ZERO);
    }

    #[test]
    fn prices_are_written_per_million_as_text_and_read_back() {
        let prices = prices(&[(C::InputUncached, "0.15"), (C::OutputText, "0.6")]);
        let text = serde_json::to_string(&prices).unwrap();
        assert_eq!(text, r#"{"input_uncached":"0.15","output_text":"0.6"}"#);
        assert_eq!(serde_json::from_str::<ClassPrices>(&text).unwrap(), prices);
        assert!(serde_json::from_str::<ClassPrices>(r#"{"input_uncached":"-1"}"#).is_err());
    }

    proptest! {
        #[test]
        fn a_fitted_usage_never_costs_more_than_its_limit_and_is_whole_if_it_may(
            input in 0..1_000_000_u64, output in 0..1_000_000_u64, p_in in 0..50_000_000_i64, p_out in 0..50_000_000_i64,
            limit in 0..i64::MAX / 4,
        ) {
            let prices = ClassPrices::default()
                .with(C::InputUncached, UnitPrice::new(p_in).unwrap())
                .with(C::OutputText, UnitPrice::new(p_out).unwrap());
            let usage = Usage::default().with(C::InputUncached, input).with(C::OutputText, output);
            let limit = Pico::new(i128::from(limit));
            let fitted = prices.fit(&usage, limit);
            prop_assert!(prices.charge(&fitted).unwrap().total <= limit);
            prop_assert_eq!(prices.charge(&usage).map(|charge| charge.total), prices.total(&usage));
            if prices.charge(&usage).unwrap().total <= limit {
                prop_assert_eq!(fitted, usage);
            }
        }
    }
}
