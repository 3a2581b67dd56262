import { IconMapPinOff } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { EmptyState } from "@/components/EmptyState";
import { ButtonLink } from "@/components/links";

export function NotFound() {
  const { t } = useTranslation();
  return (
    <EmptyState
      icon={IconMapPinOff}
      title={t("notFound.title")}
      action={
        <ButtonLink to="/" variant="default">
          {t("notFound.back")}
        </ButtonLink>
      }
    >
      {t("notFound.body")}
    </EmptyState>
  );
}
