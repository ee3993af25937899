package torghut.ta;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.typeinfo.TypeHint;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.util.Collector;

/** Records as the consumer gives them: {@link RecordBlocks} is chained to the source, so they are never serialized. */
public final class SourceRecords implements KafkaRecordDeserializationSchema<ConsumerRecord<byte[], byte[]>> {
    private static final long serialVersionUID = 1L;

    /** Returns where to begin: place by place a topic, a partition number and an offset. */
    public static OffsetsInitializer starts(String[] topics, int[] partitions, long[] offsets) {
        Map<TopicPartition, Long> starts = new HashMap<>();
        for (int at = 0; at < topics.length; at++) {
            starts.put(new TopicPartition(topics[at], partitions[at]), offsets[at]);
        }
        return OffsetsInitializer.offsets(starts, OffsetResetStrategy.EARLIEST);
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<ConsumerRecord<byte[], byte[]>> out) {
        out.collect(record);
    }

    @Override
    public TypeInformation<ConsumerRecord<byte[], byte[]>> getProducedType() {
        return TypeInformation.of(new TypeHint<>() {});
    }
}
