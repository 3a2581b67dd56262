import { Select } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { TYPING_MS } from "@/api/lists";
import { type PriceValues, priceValues } from "./priceForm";

const SHOWN = 20;

/** Fills the price fields from a provider's list price; a suggestion to look over, never applied by itself. */
export function CataloguePick({ onPick }: { onPick: (values: PriceValues) => void }) {
  const { t } = useTranslation("models");
  const [typed, setTyped] = useState("");
  const [query] = useDebouncedValue(typed.trim(), TYPING_MS);
  const found = api.useQuery(
    "get",
    "/admin/v1/catalogue",
    { params: { query: { q: query, limit: SHOWN } } },
    { enabled: query.length > 1 },
  );
  const entries = found.data?.data ?? [];
  const keyed = entries.map((entry) => ({ key: `${entry.provider} · ${entry.model}`, entry }));
  return (
    <Select
      label={t("catalogue")}
      description={t("catalogueHelp")}
      inputWrapperOrder={["label", "input", "description", "error"]}
      placeholder={t("cataloguePlaceholder")}
      data={[...new Set(keyed.map(({ key }) => key))]}
      searchable
      clearable
      searchValue={typed}
      onSearchChange={setTyped}
      filter={({ options }) => options}
      nothingFoundMessage={query.length > 1 && found.isSuccess ? t("catalogueNothing") : null}
      onChange={(key) => {
        const chosen = keyed.find((candidate) => candidate.key === key);
        if (chosen) onPick(priceValues(chosen.entry));
      }}
    />
  );
}
