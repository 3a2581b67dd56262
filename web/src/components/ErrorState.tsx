import { Button, Group, Stack, Text } from "@mantine/core";
import { IconRefresh } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { ApiError } from "@/api/problem";
import { CopyButton } from "./CopyButton";
import { Id } from "./Id";
import { Note } from "./Meaning";
import { useErrorWords } from "./useErrorWords";

/** What failed, what to do, the request id, and the details to hand on. */
export function ErrorState({
  error,
  onRetry,
}: {
  error: unknown;
  onRetry?: (() => void) | undefined;
}) {
  const { t } = useTranslation("errors");
  const words = useErrorWords();
  const { title, advice } = words(error);
  const details = error instanceof ApiError ? error.diagnostics() : String(error);
  return (
    <Note tone="bad" title={title}>
      <Stack gap="xs" mt={2}>
        <Text fz="sm">{advice}</Text>
        {error instanceof ApiError && error.requestId ? (
          <Text fz="xs" c="dimmed">
            {t("requestId")} <Id value={error.requestId} full />
          </Text>
        ) : null}
        <Group gap="xs">
          {onRetry ? (
            <Button
              variant="default"
              size="xs"
              leftSection={<IconRefresh size={14} />}
              onClick={onRetry}
            >
              {t("retry")}
            </Button>
          ) : null}
          <CopyButton text={details} label={t("copyDetails")} />
        </Group>
      </Stack>
    </Note>
  );
}
