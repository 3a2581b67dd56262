import { NumberInput, SimpleGrid } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { useTranslation } from "react-i18next";
import type { Limits } from "@/api/types";

const FIELDS = ["requests_per_minute", "tokens_per_minute", "concurrency"] as const;

/** What the inputs hold: a number, or nothing for "no limit". */
export type LimitsInput = Record<(typeof FIELDS)[number], number | "">;

export const NO_LIMITS: LimitsInput = {
  requests_per_minute: "",
  tokens_per_minute: "",
  concurrency: "",
};

export function limitsInput(limits: Limits): LimitsInput {
  return {
    requests_per_minute: limits.requests_per_minute ?? "",
    tokens_per_minute: limits.tokens_per_minute ?? "",
    concurrency: limits.concurrency ?? "",
  };
}

export function limitsBody(input: LimitsInput): Limits {
  const value = (field: number | "") => (field === "" ? null : field);
  return {
    requests_per_minute: value(input.requests_per_minute),
    tokens_per_minute: value(input.tokens_per_minute),
    concurrency: value(input.concurrency),
  };
}

export function LimitsFields<Values extends { limits: LimitsInput }>({
  form,
  at = "limits",
}: {
  form: UseFormReturnType<Values>;
  /** Where in the form they stand. */
  at?: string;
}) {
  const { t } = useTranslation();
  return (
    <SimpleGrid cols={{ base: 1, xs: 3 }} spacing="md">
      {FIELDS.map((field) => (
        <NumberInput
          key={field}
          label={t(`limits.${field}`)}
          placeholder={t("unlimited")}
          min={1}
          allowDecimal={false}
          allowNegative={false}
          thousandSeparator=","
          hideControls
          {...form.getInputProps(`${at}.${field}`)}
        />
      ))}
    </SimpleGrid>
  );
}
