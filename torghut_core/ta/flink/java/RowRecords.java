package torghut.ta;

import org.apache.flink.api.common.typeinfo.TypeHint;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;

/** What {@link RowBlocks} made, as it is. */
public final class RowRecords implements KafkaRecordSerializationSchema<ProducerRecord<byte[], byte[]>> {
    private static final long serialVersionUID = 1L;

    /** Returns the type of what goes from {@link RowBlocks} to the sink. */
    public static TypeInformation<ProducerRecord<byte[], byte[]>> type() {
        return TypeInformation.of(new TypeHint<>() {});
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(
            ProducerRecord<byte[], byte[]> record, KafkaSinkContext context, Long timestamp) {
        return record;
    }
}
