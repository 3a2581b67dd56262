import { Button, Group, Stack } from "@mantine/core";
import { IconChevronLeft } from "@tabler/icons-react";
import type { FormEventHandler, ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { isStale } from "@/api/changes";
import { AnchorLink, ButtonLink } from "@/components/links";
import { Note } from "@/components/Meaning";
import { PageHeader } from "@/components/PageHeader";
import { FormFailure } from "./FormFailure";
import classes from "./FormPage.module.css";
import { LeaveGuard } from "./LeaveGuard";

interface Props {
  title: string;
  purpose: string;
  /** Where the form came from and goes back to. */
  back: { to: "/tenants" | "/upstreams" | "/models" | "/routes" | "/keys"; name: string };
  submit: string;
  error: unknown;
  saving: boolean;
  dirty: boolean;
  onSubmit: FormEventHandler<HTMLFormElement>;
  /** Reads the resource again after somebody else changed it. */
  onReload?: () => void;
  children: ReactNode;
  /** What stands below the form: acts that are dangerous, lists that belong to it. */
  after?: ReactNode;
}

/** A page to work on: one column, labels above, help under, the server's word at the field. */
export function FormPage(props: Props) {
  const { t } = useTranslation();
  const { back, error } = props;
  return (
    <div className={classes.page}>
      <PageHeader
        title={props.title}
        purpose={props.purpose}
        above={
          <AnchorLink to={back.to} className={classes.back}>
            <IconChevronLeft size={14} aria-hidden />
            {back.name}
          </AnchorLink>
        }
      />
      <LeaveGuard when={props.dirty && !props.saving} />
      <form noValidate onSubmit={props.onSubmit}>
        <Stack gap="lg">
          {isStale(error) ? (
            <Note tone="warning" title={t("changedElsewhere.title")}>
              {t("changedElsewhere.body")}
              {props.onReload ? (
                <div>
                  <Button variant="default" size="xs" mt="xs" onClick={props.onReload}>
                    {t("changedElsewhere.reload")}
                  </Button>
                </div>
              ) : null}
            </Note>
          ) : (
            <FormFailure error={error} />
          )}
          {props.children}
          <Group gap="xs" className={classes.foot}>
            <Button type="submit" loading={props.saving}>
              {props.submit}
            </Button>
            <ButtonLink to={back.to} variant="default">
              {t("cancel")}
            </ButtonLink>
          </Group>
        </Stack>
      </form>
      {props.after}
    </div>
  );
}

/** A part of a form under its own heading. */
export function FormSection({
  title,
  help,
  children,
}: {
  title: string;
  help?: string;
  children: ReactNode;
}) {
  return (
    <section className={classes.section}>
      <h2 className={classes.sectionTitle}>{title}</h2>
      {help ? <p className={classes.sectionHelp}>{help}</p> : null}
      <Stack gap="md" mt="sm">
        {children}
      </Stack>
    </section>
  );
}
