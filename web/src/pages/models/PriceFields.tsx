import { Anchor, Select, SimpleGrid, Stack, TextInput } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { CURRENCIES } from "@/lib/currencies";
import { COMMON_CLASSES, OTHER_CLASSES, type PriceValues } from "./priceForm";

/** What a form must offer to hold these fields, whichever name they have in it. */
interface Props {
  values: PriceValues;
  input: (field: keyof PriceValues | `prices.${keyof PriceValues["prices"]}`) => object;
}

/** Money per million tokens, one field a class; what is left empty is charged by the class it belongs to. */
export function PriceFields({ values, input }: Props) {
  const { t } = useTranslation(["models", "common"]);
  const [all, setAll] = useState(() => OTHER_CLASSES.some((name) => values.prices[name] !== ""));
  const shown = all ? [...COMMON_CLASSES, ...OTHER_CLASSES] : COMMON_CLASSES;
  return (
    <Stack gap="md">
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="md">
        <Select
          label={t("currency")}
          data={CURRENCIES}
          allowDeselect={false}
          {...input("currency")}
        />
        <TextInput
          type="datetime-local"
          label={t("validFrom")}
          description={t("validFromHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          {...input("valid_from")}
        />
      </SimpleGrid>
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="md">
        {shown.map((name) => (
          <TextInput
            key={name}
            label={t(`common:usageClass.${name}`)}
            inputMode="decimal"
            placeholder="0.00"
            rightSection={<span className="tg-unit">{t("perMillionShort")}</span>}
            rightSectionWidth={64}
            autoComplete="off"
            {...input(`prices.${name}`)}
          />
        ))}
      </SimpleGrid>
      {all ? null : (
        <Anchor component="button" type="button" fz="sm" ta="left" onClick={() => setAll(true)}>
          {t("moreClasses")}
        </Anchor>
      )}
    </Stack>
  );
}
