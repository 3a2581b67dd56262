import { Button } from "@mantine/core";
import { IconFilterOff } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { EmptyState } from "./EmptyState";

/** There are rows, but none the filters let through. */
export function NothingFound({ onClear }: { onClear: () => void }) {
  const { t } = useTranslation();
  return (
    <EmptyState
      icon={IconFilterOff}
      title={t("nothingFound")}
      action={
        <Button variant="default" onClick={onClear}>
          {t("clearFilters")}
        </Button>
      }
    >
      {t("nothingFoundHelp")}
    </EmptyState>
  );
}
