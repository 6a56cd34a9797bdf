"""Who may ask the HTTP API: a user pool without self sign-up, whose groups are the roles, and the page's client."""

import aws_cdk as cdk
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from stacks.acknowledge import acknowledge
from stacks.config import DeployConfig

ROLES = ("viewer", "reviewer", "operator")
"""The groups; `lambdas/api/router.py` says what each may do."""


class SignIn(Construct):
    """`pool`, whose users an administrator makes, and `client`, by which page and command sign in."""

    def __init__(self, scope: Construct, construct_id: str, config: DeployConfig) -> None:
        super().__init__(scope, construct_id)
        self.pool = cognito.UserPool(
            self,
            "Users",
            user_pool_name=f"ics-{config.environment}",
            self_sign_up_enabled=False,
            sign_in_aliases=cognito.SignInAliases(username=True, email=True),
            password_policy=cognito.PasswordPolicy(
                min_length=14,
                require_digits=True,
                require_lowercase=True,
                require_uppercase=True,
                require_symbols=True,
                temp_password_validity=cdk.Duration.days(3),
            ),
            mfa=cognito.Mfa.OPTIONAL,
            mfa_second_factor=cognito.MfaSecondFactor(sms=False, otp=True),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            deletion_protection=config.removal == "retain",
            removal_policy=cdk.RemovalPolicy[config.removal.upper()],
        )
        for number, role in enumerate(reversed(ROLES)):
            cognito.CfnUserPoolGroup(
                self, role.capitalize(), user_pool_id=self.pool.user_pool_id, group_name=role, precedence=number
            )
        self.client = self.pool.add_client(
            "Page",
            user_pool_client_name=f"ics-{config.environment}-page",
            generate_secret=False,  # a page cannot keep one
            auth_flows=cognito.AuthFlow(user_srp=True, admin_user_password=True),
            disable_o_auth=True,
            prevent_user_existence_errors=True,
            enable_token_revocation=True,
            access_token_validity=cdk.Duration.hours(1),
            id_token_validity=cdk.Duration.hours(1),
            refresh_token_validity=cdk.Duration.days(1),
        )
        no_plus = "threat protection is paid by user and month; users are made by administrators, and may add an OTP"
        acknowledge(
            self.pool,
            {
                "AwsSolutions-COG2": "a second factor, an OTP, is each user's own choice",
                "AwsSolutions-COG3": no_plus,
                "AwsSolutions-COG8": no_plus,
            },
        )
