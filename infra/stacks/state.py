"""What must not be lost: streams, files, catalogues, secrets. Everything else can be made anew around it."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import CfnOutput
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.access_secrets import AccessSecrets
from infra.constructs.catalogue_database import CatalogueDatabase
from infra.constructs.library_secrets import LibrarySecrets
from infra.constructs.media_buckets import MediaBuckets
from infra.constructs.media_cache_names import MediaCacheNames
from infra.constructs.stream_tables import StreamTables
from infra.constructs.sts_secret import StsSecret
from infra.constructs.voice_secret import VoiceSecret
from infra.environment_stack import EnvironmentStack
from infra.stacks.network import NetworkStack


class StateStack(EnvironmentStack):
    """Tables, buckets, Postgres and secrets of one environment."""

    def __init__(self, scope: Construct, *, config: EnvironmentConfig, network: NetworkStack) -> None:
        super().__init__(scope, "state", config=config, holds="state")
        survive = config.stateful_resources_survive
        self.tables = StreamTables(self, "Tables", streams_survive=survive)
        self.access = AccessSecrets(self, "Secrets", token_length=config.token_length, survive=survive)
        self.buckets = MediaBuckets(self, "Media", survive=survive)
        self.library = LibrarySecrets(self, "Library", token_length=config.token_length, survive=survive)
        self.sts = StsSecret(self, "Sts", environment=config.name, survive=survive)
        self.voice = VoiceSecret(
            self,
            "Voice",
            names=MediaCacheNames.of(config),
            token_length=config.token_length,
            survive=survive,
        )
        self.database = CatalogueDatabase(
            self,
            "Catalogue",
            vpc=network.vpc,
            group=network.doors.database,
            instance_class=config.media_cache.database_class,
            survive=survive,
        )
        self._outputs()

    def _outputs(self) -> None:
        for name, value, meaning in (
            ("StreamsTable", self.tables.streams.table_name, "AGENT_STREAMS_TABLE of the agents."),
            ("RelayKeySecret", self.access.relay_key.secret_arn, "Holds the relays' RELAY_SIGNING_KEY."),
            ("ApiTokenSecret", self.access.api_token.secret_arn, "Holds the operators' LIVEDUB_API_TOKEN."),
            ("MediaBucketIn", self.buckets.media_in.bucket_name, "S3_BUCKET_IN of hosts."),
            ("MediaBucketOut", self.buckets.media_out.bucket_name, "S3_BUCKET_OUT of hosts."),
            ("LibraryApiTokenSecret", self.library.api_token.secret_arn, "Holds the library API's token."),
            ("CatalogueSecret", self.database.secret.secret_arn, "How to reach the Postgres."),
            ("StsSecret", self.sts.secret.secret_arn, "Holds STS_API_KEY."),
            ("VoiceSecret", self.voice.secret.secret_arn, "Holds TTS_MEDIA_CACHE_UPLOAD_TOKEN."),
        ):
            CfnOutput(self, name, value=value, description=meaning)
