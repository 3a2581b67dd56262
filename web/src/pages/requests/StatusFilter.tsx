import { TextInput } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";

const COMPLETE = /^[1-5]\d\d$/;

/** An HTTP status; asked for once it is three digits, or none. */
export function StatusFilter({
  value,
  onChange,
}: {
  value: string | undefined;
  onChange: (value: string | undefined) => void;
}) {
  const { t } = useTranslation(["requests", "common"]);
  const [typed, setTyped] = useState(value ?? "");
  const [shown, setShown] = useState(value);
  if (shown !== value) {
    setShown(value);
    setTyped(value ?? "");
  }
  return (
    <TextInput
      data-filter
      w={104}
      inputMode="numeric"
      maxLength={3}
      aria-label={t("statusCode")}
      placeholder={t("statusCode")}
      value={typed}
      onChange={(event) => {
        const text = event.currentTarget.value.replace(/\D/g, "");
        setTyped(text);
        if (text === "") onChange(undefined);
        else if (COMPLETE.test(text)) onChange(text);
      }}
    />
  );
}
