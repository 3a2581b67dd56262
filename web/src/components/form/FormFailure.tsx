import { Group, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { ApiError } from "@/api/problem";
import { Id } from "@/components/Id";
import { Note } from "@/components/Meaning";
import { useErrorWords } from "@/components/useErrorWords";

/** Why the form was not taken; the fields at fault say their own part. */
export function FormFailure({ error }: { error: unknown }) {
  const { t } = useTranslation("errors");
  const words = useErrorWords();
  if (!error) return null;
  const requestId = error instanceof ApiError ? error.requestId : null;
  return (
    <Note tone="bad">
      <Text fz="sm">{words(error).advice}</Text>
      {requestId ? (
        <Group gap={4} mt={2}>
          <Text fz="xs" c="dimmed">
            {t("requestId")}
          </Text>
          <Id value={requestId} />
        </Group>
      ) : null}
    </Note>
  );
}
