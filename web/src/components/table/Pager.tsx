import { Button, Group } from "@mantine/core";
import { IconArrowBarToLeft, IconChevronRight } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";

/** Cursor pages: forward one at a time, back with the browser, and straight to the first. */
export function Pager({
  after,
  next,
  onGo,
}: {
  after: string | undefined;
  next: string | null | undefined;
  onGo: (after: string | undefined) => void;
}) {
  const { t } = useTranslation();
  if (!after && !next) return null;
  return (
    <Group justify="flex-end" gap="xs" mt="sm">
      <Button
        variant="default"
        size="xs"
        disabled={!after}
        leftSection={<IconArrowBarToLeft size={14} />}
        onClick={() => onGo(undefined)}
      >
        {t("firstPage")}
      </Button>
      <Button
        variant="default"
        size="xs"
        disabled={!next}
        rightSection={<IconChevronRight size={14} />}
        onClick={() => next && onGo(next)}
      >
        {t("nextPage")}
      </Button>
    </Group>
  );
}
